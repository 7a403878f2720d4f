"""What identifies a model: its weights, the code that it runs, and the settings that it holds."""

from robustlab.evaluation.identity.description import describe, describe_classes
from robustlab.evaluation.identity.tensors import hash_tensors

__all__ = ["describe", "describe_classes", "hash_tensors"]
