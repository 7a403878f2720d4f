"""Detectors give every image a score, higher = more suspicious."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import ClassVar

from torch import Tensor, nn

from robustlab.core.spec import Unit
from robustlab.models.base import UsesNetworks


class Detector(UsesNetworks, Unit, ABC):
    """A score that should be higher for adversarial images than for clean ones."""

    kind = "detector"
    example = "discriminator(network=gan)"
    natural_threshold: ClassVar[float | None] = None
    """The score above which an image is suspicious by the detector's own rule; None if it has none."""

    @abstractmethod
    def score(self, networks: Mapping[str, nn.Module], images: Tensor) -> Tensor:
        """Return a score (N,) per image (N, C, H, W) on the pixel scale; higher = more suspicious."""
