"""The coordinator: it gives images to attacks, writes the ledger, and decides the verdict on each image."""

from robustlab.evaluation.coordinator.run import execute
from robustlab.options import EvaluationOptions

__all__ = ["EvaluationOptions", "execute"]
