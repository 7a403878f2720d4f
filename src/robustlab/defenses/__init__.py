"""Defenses: networks that are trained differently, or composed of several networks."""

from robustlab.defenses.adversarial_training import AdversarialTraining
from robustlab.defenses.base import ComposedDefense, Defense, TrainedDefense
from robustlab.defenses.bit_depth import BitDepth
from robustlab.defenses.diffusion_purifier import DiffusionDenoiser, DiffusionPurifier
from robustlab.defenses.purifier import Purifier
from robustlab.defenses.smoothed import Smoothed
from robustlab.defenses.thresholded import Thresholded
from robustlab.models.purifier import PurifiedClassifier
from robustlab.models.randomized import MeanOfCopies, NoisyCopies

__all__ = [
    "AdversarialTraining",
    "BitDepth",
    "ComposedDefense",
    "Defense",
    "DiffusionDenoiser",
    "DiffusionPurifier",
    "MeanOfCopies",
    "NoisyCopies",
    "PurifiedClassifier",
    "Purifier",
    "Smoothed",
    "Thresholded",
    "TrainedDefense",
]
