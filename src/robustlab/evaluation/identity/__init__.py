"""The identity of a model or a unit: its weights, its code, and its settings."""

from robustlab.evaluation.identity.description import describe, describe_classes
from robustlab.evaluation.identity.tensors import hash_tensors
from robustlab.evaluation.identity.units import code_of, code_of_classes, identity_of

__all__ = ["code_of", "code_of_classes", "describe", "describe_classes", "hash_tensors", "identity_of"]
