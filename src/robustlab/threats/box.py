"""Threat models whose allowed images are a box: every pixel moves independently."""

import math

import torch
from torch import Tensor

from robustlab.threats.base import ThreatModel, per_image
from robustlab.threats.moves import all_at_once


class Box(ThreatModel):
    """A distance is the largest change of a pixel."""

    order = math.inf
    separable = True
    largest_eps = 1.0

    def largest_distance(self, shape: tuple[int, ...]) -> float:
        del shape
        return 1.0

    def distance(self, images: Tensor, clean: Tensor) -> Tensor:
        return (images - clean).flatten(1).abs().amax(dim=1)

    def ascend(
        self, images: Tensor, gradient: Tensor, fraction: float | Tensor, eps: Tensor | None = None
    ) -> Tensor:
        return images + self._radius(images, eps, fraction) * gradient.sign()

    def steepest(self, gradient: Tensor) -> Tensor:
        return gradient.sign()

    def between(self, clean: Tensor, images: Tensor, share: Tensor) -> Tensor:
        moved = images - clean
        reach = per_image(share, images) * per_image(moved.flatten(1).abs().amax(dim=1), images)
        return clean + moved.clamp(-reach, reach)

    def _sizes(self, weight: Tensor, room: Tensor, need: Tensor) -> Tensor:
        return all_at_once(weight, room, need, torch.ones_like(weight))
