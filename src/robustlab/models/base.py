"""The model kind: a unit that builds a network for given image and class shapes."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import ClassVar, NamedTuple

import torch
from torch import Tensor, nn

from robustlab.core.spec import Unit
from robustlab.core.text import with_article


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
    """What its networks do: ``"classifier"`` (images to logits), ``"autoencoder"`` (images to images),
    ``"diffusion model"`` (points and times to noise) or ``"gan"``; objectives, defenses and detectors say
    which kind they need."""
    generative: ClassVar[bool] = False
    """Whether its networks have ``latent`` and ``generate``, which draws images from standard normal codes
    (N, latent)."""

    runs_code: ClassVar[bool] = False
    """Whether it runs a user's code, which a file from elsewhere must not choose."""

    @abstractmethod
    def build(self, shape: Shape) -> nn.Module:
        """Return a network with fresh weights from torch's global generator."""


class UsesNetworks:
    """A defense or a detector: arguments of it may name trained networks."""

    network_kinds: ClassVar[Mapping[str, str]] = {}
    """The arguments that name trained networks, and the kind (`Model.network_kind`) of each."""

    @property
    def networks(self) -> tuple[str, ...]:
        """The names of the trained networks it needs: those of `network_kinds`; override it for others."""
        return tuple(str(getattr(self, argument)) for argument in self.network_kinds)


def require_part(field: str, model: Model, kind: str) -> None:
    """Refuse an architecture that can't be a part of another one.

    Args:
        field: of the other architecture, for the error.
        model: the part.
        kind: what its networks must be, as `Model.network_kind` names it.

    Raises:
        ValueError: it is of another kind, or a user's code: a file with weights names its architecture, and
            must not get around the refusal of a user's code.
    """
    if model.network_kind != kind or model.runs_code:
        raise ValueError(f"{field} must be {with_article(kind)} of `ls models`, found {model!r}")


class Normalize(nn.Module):
    """Maps the pixel scale [0, 1] to [-1, 1] (mean 0.5, std 0.5).

    It is a network's first layer, never a transform outside it, so that every eps is in pixel units.
    """

    def forward(self, images: Tensor) -> Tensor:
        return images * 2 - 1


class Pixels(nn.Module):
    """Maps logits to the pixel scale [0, 1], in fp32 even under autocast; an autoencoder's last layer."""

    def forward(self, logits: Tensor) -> Tensor:
        return torch.sigmoid(logits if logits.dtype == torch.float64 else logits.float())
