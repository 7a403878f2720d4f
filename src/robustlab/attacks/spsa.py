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
_DECAY = 0.9


@register("spsa")
class SPSA(Attack):
    """Steepest ascent along a decaying sum of estimates, from the differences of random opposite points.

    The paper steps with Adam, by a length that suits one eps; here the step follows eps and the norm.
    """

    norms = ("linf", "l2")
    exact = True

    steps: Annotated[int, Field(ge=1)] = 40
    pairs: Annotated[int, Field(ge=1)] = 64
    """Pairs of points from which a gradient is estimated."""
    delta: PixelLength = 0.01
    """How far each pixel of a pair's points lies from where the gradient is estimated."""
    step: Annotated[float, Field(gt=0.0)] = 0.1
    """Step length as a fraction of eps."""
    loss: Loss = "margin"

    @property
    def needs_gradient(self) -> bool:
        return False

    @property
    def passes(self) -> int:
        return self.steps * (2 * self.pairs + 1)

    def search(self, session: Session) -> None:
        # At clean black pixels a network may not feel a step of delta.
        start = session.random_start()
        state = _State(start, torch.zeros_like(start))
        for number in range(self.steps):
            state = session.unfinished(state)
            if session.finished:
                return
            state.mean = _DECAY * state.mean + self.estimate(session, state.points, number)
            state.points = session.ascend(state.points, state.mean, self.step)
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
    """The point of each active image, and the decaying mean of its gradients."""

    points: Tensor
    mean: Tensor
