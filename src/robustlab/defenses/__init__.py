"""Defenses: networks that are trained differently, or composed of several networks."""

from robustlab.defenses.adversarial_training import AdversarialTraining
from robustlab.defenses.base import ComposedDefense, Defense, TrainedDefense
from robustlab.defenses.purifier import PurifiedClassifier, Purifier

__all__ = [
    "AdversarialTraining",
    "ComposedDefense",
    "Defense",
    "PurifiedClassifier",
    "Purifier",
    "TrainedDefense",
]
