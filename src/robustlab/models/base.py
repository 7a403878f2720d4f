"""The model kind: a unit that builds a network for given image and class shapes."""

from abc import ABC, abstractmethod
from typing import ClassVar, NamedTuple

from torch import Tensor, nn

from robustlab.core.spec import Unit


class Shape(NamedTuple):
    """The shapes for which a network is built: the images' shape and the number of classes."""

    channels: int
    height: int
    width: int
    classes: int

    @property
    def image(self) -> tuple[int, int, int]:
        """The shape (C, H, W) of one image."""
        return (self.channels, self.height, self.width)

    @property
    def pixels(self) -> int:
        """The number of values in one image."""
        return self.channels * self.height * self.width


class Model(Unit, ABC):
    """An architecture; every network takes images on the pixel scale [0, 1]."""

    kind = "model"
    example = "cnn"
    network_kind: ClassVar[str] = "classifier"
    """The kind of its networks: ``"classifier"`` (images to logits), ``"autoencoder"`` (images to images) or
    ``"gan"``; objectives, defenses and detectors state which kind they need."""

    @abstractmethod
    def build(self, shape: Shape) -> nn.Module:
        """Return a network with fresh weights from torch's global generator."""


class Normalize(nn.Module):
    """Maps the pixel scale [0, 1] to [-1, 1] (mean 0.5, std 0.5).

    It is a network's first layer, never a transform outside it, so that every eps is in pixel units.
    """

    def forward(self, images: Tensor) -> Tensor:
        return images * 2 - 1
