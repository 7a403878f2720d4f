"""Mean gradients of nearby points, for shattered gradients (Athalye et al. 2018, arXiv:1802.00420)."""

from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor

from robustlab.attacks.gradients.base import Gradient
from robustlab.attacks.gradients.query import GradientQuery
from robustlab.core.spec import PixelLength, register

STD = 0.01
"""Standard deviation of the noise that is added to a point, on the pixel scale."""


@register("smoothed")
class SmoothedGradient(Gradient):
    """The mean gradient of nearby points: one forward and one backward pass each, and one more forward pass.

    If gradients change within a short distance, their mean shows the direction of ascent.
    """

    draws: Annotated[int, Field(ge=1)] = 16
    """How many nearby points for each gradient."""
    std: PixelLength = STD
    """Standard deviation of the noise that is added to a point, on the pixel scale."""

    @property
    def passes(self) -> int:
        return self.draws + 1

    def estimate(self, query: GradientQuery) -> tuple[Tensor, None]:
        total: Tensor | float = 0.0
        for some in torch.split(torch.arange(self.draws), query.copies_at_once):
            noise = [query.normal("nearby", int(draw)) for draw in some]
            around = torch.cat([(query.points + self.std * one).clamp(0, 1) for one in noise])
            gradients = query.exact(around, copies=len(some))[0]
            for one in gradients.chunk(len(some)):  # added in this order for any batch size
                total = total + one / self.draws
        return torch.as_tensor(total), None
