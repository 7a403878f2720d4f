"""Threat models: what an attacker may do to an image, and the geometry of it, written once per norm.

All images are (N, C, H, W) float32 on the pixel scale [0, 1]; every distance is in pixel units.
"""

import math
from abc import ABC, abstractmethod

import torch
from torch import Tensor

from robustlab.core import seeding
from robustlab.core.spec import PixelDistance, PixelLength, Unit, register


def per_image(values: Tensor, images: Tensor) -> Tensor:
    """Reshape (N,) so that it broadcasts over the pixels of (N, C, H, W)."""
    return values.view(-1, *[1] * (images.ndim - 1))


class ThreatModel(Unit, ABC):
    """The set of images into which an attacker may turn an image."""

    kind = "threat"
    eps: float

    @abstractmethod
    def distance(self, images: Tensor, clean: Tensor) -> Tensor:
        """Return (N,) distances in the threat model's norm."""

    @abstractmethod
    def project(self, images: Tensor, clean: Tensor) -> Tensor:
        """Return allowed images near the given ones: within eps of the clean ones, inside [0, 1]."""

    @abstractmethod
    def random_start(self, clean: Tensor, key: int, ids: Tensor) -> Tensor:
        """Return a random allowed image for each clean one, drawn by (key, id) as in `seeding`."""

    @abstractmethod
    def ascend(self, images: Tensor, gradient: Tensor, fraction: float) -> Tensor:
        """Take the step of length ``fraction * eps`` that most increases the loss; not projected."""


@register("linf")
class Linf(ThreatModel):
    """Every pixel may change by at most eps."""

    eps: PixelLength

    def distance(self, images: Tensor, clean: Tensor) -> Tensor:
        return (images - clean).flatten(1).abs().amax(dim=1)

    def project(self, images: Tensor, clean: Tensor) -> Tensor:
        return torch.clamp(images, (clean - self.eps).clamp_(min=0.0), (clean + self.eps).clamp_(max=1.0))

    def random_start(self, clean: Tensor, key: int, ids: Tensor) -> Tensor:
        draws = seeding.uniform(key, ids, tuple(clean.shape[1:]))
        return self.project(clean + self.eps * (2 * draws - 1), clean)

    def ascend(self, images: Tensor, gradient: Tensor, fraction: float) -> Tensor:
        return images + fraction * self.eps * gradient.sign()


def _length(moves: Tensor) -> Tensor:
    length: Tensor = torch.linalg.vector_norm(moves.flatten(1), dim=1)
    return length


@register("l2")
class L2(ThreatModel):
    """The image may move by at most eps in Euclidean distance."""

    eps: PixelDistance

    def distance(self, images: Tensor, clean: Tensor) -> Tensor:
        return _length(images - clean)

    def project(self, images: Tensor, clean: Tensor) -> Tensor:
        # Clipping to [0, 1] after the shrinking only moves the image nearer to the clean one.
        moved = images - clean
        length = per_image(_length(moved), images)
        return (clean + moved * (self.eps / length.clamp(min=1e-12)).clamp(max=1.0)).clamp_(0.0, 1.0)

    def random_start(self, clean: Tensor, key: int, ids: Tensor) -> Tensor:
        shape = tuple(clean.shape[1:])
        direction = seeding.normal(key, ids, shape)
        radius = seeding.uniform(seeding.derive(key, "radius"), ids, (1,)) ** (1 / math.prod(shape))
        factor = self.eps * radius.squeeze(1) / _length(direction)
        return self.project(clean + direction * per_image(factor, clean), clean)

    def ascend(self, images: Tensor, gradient: Tensor, fraction: float) -> Tensor:
        # Brought to a largest entry of 1 first: the squares of a confident classifier's gradient underflow.
        largest = per_image(gradient.flatten(1).abs().amax(dim=1), images)
        gradient = gradient / largest.clamp(min=torch.finfo(gradient.dtype).tiny)
        length = per_image(_length(gradient), images)
        return images + gradient * (fraction * self.eps / length.clamp(min=1e-12))


WHOLE_BOX = Linf(eps=1.0)
"""No bound but the pixel range: the threat model of noise and corruptions."""
