"""SPSA: gradients from random differences (Spall 1992; Uesato et al. 2018, arXiv:1802.05666)."""

from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor

from robustlab.attacks.gradients.base import Gradient
from robustlab.attacks.gradients.differences import ends, spans
from robustlab.attacks.gradients.query import GradientQuery
from robustlab.core.spec import PixelLength, register

_BLOCK = 8
"""Pairs measured at once."""


@register("spsa")
class SPSAGradient(Gradient):
    """The mean of differences between random opposite points: two forward passes per pair.

    It is unbiased to first order. The error of one estimate, relative to the gradient's length, is about the
    square root of (values of an image / pairs).
    """

    needs_gradient = False
    small_differences = True

    pairs: Annotated[int, Field(ge=1)] = 64
    """Pairs of points for each gradient."""
    delta: PixelLength = 0.01
    """How far each pixel of a pair's points lies from the point of the gradient, on the pixel scale."""

    @property
    def passes(self) -> int:
        return 2 * self.pairs + 1

    def estimate(self, query: GradientQuery) -> tuple[Tensor, None]:
        low, high = ends(query.points, self.delta)
        total: Tensor | float = 0.0
        for block, first in enumerate(range(0, self.pairs, _BLOCK)):
            draws = query.uniform("pairs", block, shape=(_BLOCK, *low.shape[1:]))
            up = draws.transpose(0, 1)[: self.pairs - first] < 0.5
            both = torch.cat([torch.where(up, high, low), torch.where(up, low, high)])
            above, below = query.values(both).chunk(2)
            slopes = (above - below)[..., None, None, None]
            total = total + torch.where(up[:, :, None], slopes, -slopes).sum(dim=0)
        return torch.as_tensor(total) / (self.pairs * spans(low, high))[:, None], None
