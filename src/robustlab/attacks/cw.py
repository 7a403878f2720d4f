"""Carlini & Wagner's L2 attack (2017, arXiv:1608.04644).

Budget: at most `steps * binary_search_steps` gradients.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor

from robustlab.attacks.gradient_attack import GradientAttack
from robustlab.attacks.gradients import ExactGradient, Gradient
from robustlab.attacks.schedules import adam
from robustlab.attacks.session import Session
from robustlab.core.spec import register
from robustlab.threats import per_image

_CHECKS, _PROGRESS = 10, 0.9999
_MARGIN = 1e-3
"""Where the argument of tanh is clipped: tanh is flat at its limits, so a black or white pixel could not
change."""


@register("cw")
class CW(GradientAttack):
    """Adam on the squared L2 distance minus c times the margin, in tanh space; binary search for c."""

    norms = ("l2",)
    minimum_norm = True

    steps: Annotated[int, Field(ge=1)] = 1000
    binary_search_steps: Annotated[int, Field(ge=1)] = 9
    """How many values of c are tried."""
    lr: Annotated[float, Field(gt=0.0)] = 0.01
    """Adam's learning rate, in tanh space."""
    initial_const: Annotated[float, Field(gt=0.0)] = 1e-3
    """The weight c of the margin in the first round."""
    confidence: Annotated[float, Field(ge=0.0)] = 0.0
    """The margin, in logits, that a success must exceed."""
    abort_early: bool = True
    """Whether a round ends for an image if a tenth of the steps brought no improvement."""
    gradient: Gradient = ExactGradient()

    @property
    def passes(self) -> int:
        return self.steps * self.binary_search_steps

    def search(self, session: Session) -> None:
        search_weight(session, self.initial_const, self.binary_search_steps, self._descend)

    def _descend(self, session: Session, weight: Tensor) -> Tensor:
        reached = torch.zeros_like(session.labels, dtype=torch.bool)
        start = ((2 * session.clean - 1) * (1 - 2 * _MARGIN)).atanh()
        state = _State(
            place=torch.arange(len(weight), device=weight.device),
            weight=weight,
            start=start.tanh(),
            coordinates=start,
            mean=torch.zeros_like(start),
            square=torch.zeros_like(start),
            objective=torch.full_like(weight, torch.inf),
        )
        for step in range(1, self.steps + 1):
            tanh = state.coordinates.tanh()
            points = (session.clean + (tanh - state.start) / 2).clamp(0.0, 1.0)
            result = session.query(points, "margin", gradient=True)
            moves, short = points - session.clean, self.confidence - result.losses
            reached[state.place] |= result.reached & (short <= 0) & ~session.closed
            pull = torch.where(short > 0, state.weight, 0.0)
            gradient = (2 * moves - per_image(pull, moves) * result.ascent) * (1 - tanh.square()) / 2
            state.coordinates = state.coordinates - self.lr * adam(state, gradient, step)
            done = None
            if self.abort_early and step % max(1, self.steps // _CHECKS) == 0:
                objective = moves.square().flatten(1).sum(dim=1) + pull * short
                done, state.objective = objective > _PROGRESS * state.objective, objective
            state = session.unfinished(state, done=done)
            if session.finished:
                break
        return reached


@dataclass
class _State:
    """The values that a round keeps for each active image."""

    place: Tensor
    weight: Tensor
    start: Tensor
    coordinates: Tensor
    mean: Tensor
    square: Tensor
    objective: Tensor


def search_weight(
    session: Session, first: float, rounds: int, descend: Callable[[Session, Tensor], Tensor]
) -> None:
    """Search the smallest weight of the margin with a success: times ten until one, then by bisection.

    Args:
        session: the images.
        first: the weight of the first round.
        rounds: how many weights to try.
        descend: searches with weights (n,) and returns (n,) whether the goal was reached.
    """
    weight = torch.full_like(session.eps, first)
    low, high = torch.zeros_like(weight), torch.full_like(weight, torch.inf)
    for _ in range(rounds):
        with session.round():
            reached = descend(session, weight)
        low = torch.where(reached, low, weight)
        high = torch.where(reached, weight, high)
        weight = torch.where(high.isfinite(), (low + high) / 2, 10 * weight)
        weight, low, high = session.unfinished(weight, low, high)
        if session.finished:
            return
