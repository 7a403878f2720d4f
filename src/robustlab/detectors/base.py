"""Detectors give every image a score, higher = more suspicious."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import ClassVar

from torch import Tensor, nn

from robustlab.core.spec import Unit


class Detector(Unit, ABC):
    """A score that should be higher for adversarial images than for clean ones."""

    kind = "detector"
    example = "discriminator(network=gan)"
    natural_threshold: ClassVar[float | None] = None
    """The score above which an image is suspicious by the detector's own rule; None if it has none."""

    network_kinds: ClassVar[Mapping[str, str]] = {}
    """The arguments that name trained networks, and the kind (`Model.network_kind`) of each."""

    @property
    def networks(self) -> tuple[str, ...]:
        """The names of the trained networks it needs: those of `network_kinds`; override it for others."""
        return tuple(str(getattr(self, argument)) for argument in self.network_kinds)

    @abstractmethod
    def score(self, networks: Mapping[str, nn.Module], images: Tensor) -> Tensor:
        """Return a score (N,) per image (N, C, H, W) on the pixel scale; higher = more suspicious."""
