"""Augmentations: one file each."""

from robustlab.training.augmentations.base import Augmentation
from robustlab.training.augmentations.flip import HorizontalFlip
from robustlab.training.augmentations.shift import Shift

__all__ = ["Augmentation", "HorizontalFlip", "Shift"]
