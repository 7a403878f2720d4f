"""Mean gradients of points nearby, where gradients are shattered (Athalye et al. 2018, arXiv:1802.00420)."""

from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor

from robustlab.attacks.gradients.base import Gradient
from robustlab.attacks.gradients.query import GradientQuery
from robustlab.core.spec import PixelLength, register

STD = 0.01
"""Standard deviation of the noise that leads to the points around one, in pixel units."""


@register("smoothed")
class SmoothedGradient(Gradient):
    """The mean gradient of points nearby: one forward and one backward pass each, and a forward pass more.

    Where gradients change within a short distance, only their mean says where a step leads.
    """

    draws: Annotated[int, Field(ge=1)] = 16
    """Points around each one."""
    std: PixelLength = STD
    """Standard deviation of the noise that leads to them, in pixel units."""

    @property
    def passes(self) -> int:
        return self.draws + 1

    def estimate(self, query: GradientQuery) -> tuple[Tensor, None]:
        total: Tensor | float = 0.0
        for some in torch.split(torch.arange(self.draws), query.copies_at_once):
            noise = [query.normal("nearby", int(draw)) for draw in some]
            around = torch.cat([(query.points + self.std * one).clamp(0, 1) for one in noise])
            gradients = query.exact(around, copies=len(some))[0]
            for one in gradients.chunk(len(some)):  # in this order for any batch
                total = total + one / self.draws
        return torch.as_tensor(total), None
