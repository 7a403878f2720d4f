"""Gradients from the difference between both sides of a point, value by value."""

import torch
from torch import Tensor

from robustlab.attacks.gradients.base import Gradient
from robustlab.attacks.gradients.differences import ends, spans
from robustlab.attacks.gradients.query import GradientQuery
from robustlab.core.spec import PixelLength, register

_BLOCK = 8
"""Values of an image that are changed in one pass, each in its own pair of images."""


@register("finite_differences")
class FiniteDifferences(Gradient):
    """Central differences along each value of the image, two forward passes each; for small images."""

    needs_gradient = False
    small_differences = True
    passes = None

    delta: PixelLength = 0.01
    """How far a value is moved to either side, on the pixel scale."""

    def estimate(self, query: GradientQuery) -> tuple[Tensor, None]:
        points = query.points.flatten(1)
        low, high = ends(points, self.delta)
        slopes = []
        for block in torch.split(torch.arange(points.shape[1], device=points.device), _BLOCK):
            moved = points.repeat(2 * len(block), 1, 1)
            for k, place in enumerate(block):
                moved[k, :, place], moved[len(block) + k, :, place] = high[:, place], low[:, place]
            above, below = query.values(moved.view(len(moved), *query.points.shape)).chunk(2)
            slopes.append((above - below) / spans(low, high)[:, block].T[:, :, None])
        gradients = torch.cat(slopes).movedim(0, 2)
        return gradients.reshape(*gradients.shape[:2], *query.points.shape[1:]), None
