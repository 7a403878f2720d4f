"""Backward pass differentiable approximation (Athalye, Carlini & Wagner 2018, arXiv:1802.00420)."""

import torch
from torch import Tensor, nn


class BPDA(nn.Module):
    """A part of a classifier whose gradient is that of a stand-in.

    A part without a useful gradient (rounding, JPEG, a search, a lookup) hides from attacks what they would
    need; the gradient of something similar and differentiable shows it again.

    Args:
        part: gives the values; never differentiated.
        stand_in: gives the gradient; its output has the shape of the part's. By default the identity, for
            parts that return nearly what they get.
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
    # Zero forwards, so that not a bit of the values changes; the stand-in's gradient backwards.
    return values.detach() + (smooth - smooth.detach())
