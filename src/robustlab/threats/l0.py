"""The L0 ball: a few pixels may take any value."""

import math
from typing import Annotated, Self

import torch
from pydantic import Field
from torch import Tensor

from robustlab.core import seeding
from robustlab.core.spec import register
from robustlab.core.text import level
from robustlab.threats.base import ThreatModel, pixels
from robustlab.threats.moves import cheapest_first


@register("l0")
class L0(ThreatModel):
    """At most eps values of the image may change, each to any value in [0, 1]; each channel counts."""

    order = 0
    sparse = True
    discrete = True
    eps: Annotated[int, Field(ge=0)]

    def at(self, eps: float) -> Self:
        return super().at(int(eps))

    def largest_distance(self, shape: tuple[int, ...]) -> float:
        return float(math.prod(shape))

    def eps_to_grey(self, shape: tuple[int, ...]) -> float:
        return self.largest_distance(shape)

    def words(self, channels: int | None) -> str:
        return f"set up to {level(self.eps)} {pixels(channels)}s to anything"

    def distance(self, images: Tensor, clean: Tensor) -> Tensor:
        return (images != clean).flatten(1).sum(dim=1).to(images.dtype)

    def project(self, images: Tensor, clean: Tensor, eps: Tensor | None = None) -> Tensor:
        images = images.clamp(0.0, 1.0)
        return torch.where(self._first((images - clean).abs(), eps), images, clean)

    def random_start(self, clean: Tensor, key: int, ids: Tensor, eps: Tensor | None = None) -> Tensor:
        shape = tuple(clean.shape[1:])
        chosen = self._first(seeding.uniform(seeding.derive(key, "places"), ids, shape), eps)
        return torch.where(chosen, seeding.uniform(key, ids, shape), clean)

    def ascend(
        self, images: Tensor, gradient: Tensor, fraction: float | Tensor, eps: Tensor | None = None
    ) -> Tensor:
        """Set the ``fraction * eps`` values (at least one) with the largest estimated gain to 0 or 1."""
        wished = (gradient > 0).to(images.dtype)
        promise = gradient * (wished - images)
        count = torch.as_tensor(fraction * (self.eps if eps is None else eps), device=images.device)
        count = torch.where(count > 0, count.ceil(), 0.0)
        return torch.where(self._first(promise, count) & (promise > 0), wished, images)

    def steepest(self, gradient: Tensor) -> Tensor:
        return torch.where(self._first(gradient.abs(), torch.ones_like(gradient[:, 0, 0, 0])), gradient, 0.0)

    def _sizes(self, weight: Tensor, room: Tensor, need: Tensor) -> Tensor:
        return cheapest_first(weight, room, need, weight * room)

    def _first(self, values: Tensor, count: Tensor | None) -> Tensor:
        """Return a mask of the ``count`` (or eps) largest values of each image."""
        rank = values.flatten(1).argsort(dim=1, descending=True, stable=True).argsort(dim=1)
        number = torch.as_tensor(self.eps if count is None else count, device=values.device)
        return (rank <= number.view(-1, 1) - 1).view_as(values)
