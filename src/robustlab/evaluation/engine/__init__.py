"""The engine: which attack meets which image, the ledger, and the verdict on each image."""

from robustlab.evaluation.engine.options import EvaluationOptions
from robustlab.evaluation.engine.run import execute

__all__ = ["EvaluationOptions", "execute"]
