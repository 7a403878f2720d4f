"""The L2 ball: the Euclidean distance."""

import math

import torch
from torch import Tensor

from robustlab.core import seeding
from robustlab.core.spec import PixelDistance, register
from robustlab.core.text import level
from robustlab.threats.base import ThreatModel, per_image, scale
from robustlab.threats.moves import all_at_once


def _length(moves: Tensor) -> Tensor:
    length: Tensor = torch.linalg.vector_norm(moves.flatten(1), dim=1)
    return length


@register("l2")
class L2(ThreatModel):
    """The image may move by at most eps in Euclidean distance."""

    order = 2
    projects_exactly = False
    eps: PixelDistance

    def largest_distance(self, shape: tuple[int, ...]) -> float:
        return math.sqrt(math.prod(shape))

    def words(self, channels: int | None) -> str:
        what = "row" if channels is None else "image"
        return f"move the {what} by up to {level(self.eps)} in Euclidean length, {scale(channels)}"

    def distance(self, images: Tensor, clean: Tensor) -> Tensor:
        return _length(images - clean)

    def project(self, images: Tensor, clean: Tensor, eps: Tensor | None = None) -> Tensor:
        # Clipping to [0, 1] after the scaling only moves the image nearer to the clean one.
        moved = images - clean
        length = per_image(_length(moved), images).clamp(min=1e-12)
        return (clean + moved * (self._radius(images, eps) / length).clamp(max=1.0)).clamp_(0.0, 1.0)

    def random_start(self, clean: Tensor, key: int, ids: Tensor, eps: Tensor | None = None) -> Tensor:
        shape = tuple(clean.shape[1:])
        direction = seeding.normal(key, ids, shape)
        radius = seeding.uniform(seeding.derive(key, "radius"), ids, (1,)) ** (1 / math.prod(shape))
        factor = per_image(radius.squeeze(1) / _length(direction), clean)
        return self.project(clean + direction * factor * self._radius(clean, eps), clean, eps)

    def ascend(
        self, images: Tensor, gradient: Tensor, fraction: float | Tensor, eps: Tensor | None = None
    ) -> Tensor:
        # Scaled to a largest entry of 1 first: the squares of a confident classifier's gradient underflow.
        largest = per_image(gradient.flatten(1).abs().amax(dim=1), images)
        gradient = gradient / largest.clamp(min=torch.finfo(gradient.dtype).tiny)
        length = per_image(_length(gradient), images).clamp(min=1e-12)
        return images + gradient * (self._radius(images, eps, fraction) / length)

    def steepest(self, gradient: Tensor) -> Tensor:
        return gradient

    def _sizes(self, weight: Tensor, room: Tensor, need: Tensor) -> Tensor:
        return all_at_once(weight, room, need, weight)
