"""Detectors: a score per image, higher = more suspicious."""

from robustlab.detectors.base import Detector
from robustlab.detectors.discriminator import Discriminator
from robustlab.detectors.grey_pixels import GreyPixels

__all__ = ["Detector", "Discriminator", "GreyPixels"]
