"""Criteria: when an attack has reached its goal, and the loss that leads there; one file each."""

from robustlab.attacks.criteria.base import Criterion, Observation
from robustlab.attacks.criteria.choice import as_criterion
from robustlab.attacks.criteria.misclassified import MISCLASSIFIED, Misclassified
from robustlab.attacks.criteria.targeted import GivenTargets, Targeted

__all__ = [
    "MISCLASSIFIED",
    "Criterion",
    "GivenTargets",
    "Misclassified",
    "Observation",
    "Targeted",
    "as_criterion",
]
