"""SPSA: gradients from random differences (Uesato et al. 2018, arXiv:1802.05666).

Budget: steps * (2 * pairs + 1) forward passes. It asks for no gradient, so it finds what masked ones hide.
"""

from dataclasses import dataclass
from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor

from robustlab.attacks.base import Attack
from robustlab.attacks.losses import Loss
from robustlab.attacks.session import Session
from robustlab.core.spec import PixelLength, register

_BLOCK = 8
"""Pairs measured at once."""
_DECAY, _SQUARE_DECAY = 0.9, 0.999


@register("spsa")
class SPSA(Attack):
    """Adam on gradients estimated from the differences between random pairs of opposite points."""

    norms = ("linf", "l2")

    steps: Annotated[int, Field(ge=1)] = 40
    pairs: Annotated[int, Field(ge=1)] = 64
    delta: PixelLength = 0.01
    """How far each pixel of a pair's points lies from where the gradient is estimated."""
    rate: PixelLength = 0.01
    """Adam's learning rate: about how far each pixel moves in a step."""
    loss: Loss = "margin"

    def search(self, session: Session) -> None:
        state = _State(session.clean, torch.zeros_like(session.clean), torch.zeros_like(session.clean))
        for step in range(1, self.steps + 1):
            session.prune(state)
            if session.finished:
                return
            gradient = self.estimate(session, state.points, step)
            state.mean = _DECAY * state.mean + (1 - _DECAY) * gradient
            state.square = _SQUARE_DECAY * state.square + (1 - _SQUARE_DECAY) * gradient**2
            mean = state.mean / (1 - _DECAY**step)
            root = (state.square / (1 - _SQUARE_DECAY**step)).sqrt()
            state.points = session.project(state.points + self.rate * mean / (root + 1e-8))
            session.query(state.points, self.loss)

    def estimate(self, session: Session, points: Tensor, step: int) -> Tensor:
        """Return an estimate of the loss's gradient at the points, from ``2 * pairs`` forward passes."""
        low, high = (points - self.delta).clamp(min=0.0), (points + self.delta).clamp(max=1.0)
        total = torch.zeros_like(points)
        for block, first in enumerate(range(0, self.pairs, _BLOCK)):
            draws = session.uniform("pairs", step, block, shape=(_BLOCK, *points.shape[1:]))
            up = draws.transpose(0, 1)[: self.pairs - first] < 0.5
            both = torch.cat([torch.where(up, high, low), torch.where(up, low, high)])
            above, below = session.query_many(both, self.loss, propose=False).losses.chunk(2)
            slopes = (above - below)[:, :, None, None, None]
            total = total + torch.where(up, slopes, -slopes).sum(dim=0)
        # At the ends of the pixel range the pair lies closer together.
        return total / (self.pairs * (high - low).clamp(min=1e-12))


@dataclass
class _State:
    """The point of each active image, and Adam's moments."""

    points: Tensor
    mean: Tensor
    square: Tensor
