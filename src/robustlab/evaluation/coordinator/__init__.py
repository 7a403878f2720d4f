"""The coordinator: which attack gets which image, the ledger, and the verdict on each image."""

from robustlab.evaluation.coordinator.run import execute
from robustlab.options import EvaluationOptions

__all__ = ["EvaluationOptions", "execute"]
