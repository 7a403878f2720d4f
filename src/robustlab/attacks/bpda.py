"""Backward pass differentiable approximation (Athalye, Carlini & Wagner 2018, arXiv:1802.00420)."""

import torch
from torch import Tensor, nn


class BPDA(nn.Module):
    """A part of a classifier whose gradient is that of a stand-in.

    Some parts have no useful gradient, such as rounding, JPEG, a search or a lookup. An attack can use the
    gradient of a similar, differentiable function instead.

    Args:
        part: computes the values; it is never differentiated.
        stand_in: gives the gradient; its output has the shape of the part's output. Default: the identity,
            for parts whose output is close to their input.
    """

    def __init__(self, part: nn.Module, stand_in: nn.Module | None = None) -> None:
        super().__init__()
        self.part = part
        self.stand_in = nn.Identity() if stand_in is None else stand_in

    def forward(self, x: Tensor) -> Tensor:
        with torch.no_grad():
            values: Tensor = self.part(x)
        return straight_through(values, self.stand_in(x))


def straight_through(values: Tensor, smooth: Tensor) -> Tensor:
    """Return the values, with the gradient of their stand-in."""
    # The difference is zero in the forward pass, so the values do not change by a bit; backwards the gradient
    # is the stand-in's.
    return values.detach() + (smooth - smooth.detach())
