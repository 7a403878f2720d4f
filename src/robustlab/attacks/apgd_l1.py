"""Auto-PGD for L1: steps as sparse as the best point is (Croce & Hein 2021, arXiv:2103.01208).

Budget: steps gradients per restart, or per target class.
"""

from dataclasses import dataclass
from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor

from robustlab.attacks.apgd import ranked_class
from robustlab.attacks.gradient_attack import GradientAttack
from robustlab.attacks.gradients import ExactGradient, Gradient
from robustlab.attacks.losses import Loss
from robustlab.attacks.session import Session
from robustlab.core.spec import register
from robustlab.threats import per_image
from robustlab.threats.l1 import sparse_sign

_RADII = ((3.0, 0.3), (2.0, 0.3), (1.0, 0.4))
"""Radii, as multiples of eps, with their share of the steps. The widest ball comes first, since a search that
begins in the narrow one gets stuck more often."""

_FIRST_SHARE = 0.2
"""The share of the pixels that a step moves at first, when the best point gives no estimate yet."""

_COUNT_SHRINKS, _STEP_SHRINKS, LEAST_STEP = 1.5, 1.5, 0.1
_CHECK_EVERY = 0.04


@register("apgd_l1")
class APGDL1(GradientAttack):
    """Steps on the pixels with the largest gradients, in balls that shrink to the threat model's ball."""

    norms = ("l1",)

    steps: Annotated[int, Field(ge=1)] = 100
    loss: Loss = "cross_entropy"
    targets: Annotated[int, Field(ge=0)] = 0
    """How many of the most likely wrong classes are targets, one restart each; 0: untargeted."""
    restarts: Annotated[int, Field(ge=1)] = 1
    large_radii: bool = True
    """Whether the search begins in balls of three times and twice eps, or stays within eps."""
    gradient: Gradient = ExactGradient()

    @property
    def restart_count(self) -> int:
        return self.restarts * max(1, self.targets)

    @property
    def passes(self) -> int:
        return self.steps + 1

    def search(self, session: Session) -> None:
        toward = ranked_class(session, session.restart % self.targets) if self.targets else None
        if toward is not None and (toward < 0).all():
            return  # there are fewer classes than targets
        shape = tuple(session.clean.shape[1:])
        start = session.clean + session.normal("start", shape=shape)
        none = torch.zeros_like(session.eps)
        state = _State(start, start, start, start, none, none, none, none, toward)
        left = self.steps
        for multiple, share in _RADII if self.large_radii else _RADII[-1:]:
            steps = left if multiple == 1 else round(share * self.steps)
            left -= steps
            if steps:
                state = _ascend(session, state, self, multiple, steps)
            if session.finished:
                return


@dataclass
class _State:
    """The values that the search keeps for each active image; ``count`` is how many values a step moves."""

    points: Tensor
    gradient: Tensor
    best: Tensor
    best_gradient: Tensor
    best_loss: Tensor
    count: Tensor
    step: Tensor
    moved: Tensor
    toward: Tensor | None


def _ascend(session: Session, state: _State, attack: APGDL1, multiple: float, steps: int) -> _State:
    """Search the ball of ``multiple * eps``, from the projection of the current point onto it."""
    state.points = session.threat.project(state.points, session.clean, multiple * session.eps)
    state.best = state.points
    state.best_loss = torch.full_like(session.eps, -torch.inf)
    state.step = torch.ones_like(session.eps)
    if attack.large_radii:
        state.moved = count_moved(session, state.points)
        state.count = fewer(state.moved)
    else:
        state.moved = torch.full_like(session.eps, session.clean[0].numel())
        state.count = (_FIRST_SHARE * state.moved).ceil()
    every = max(1, int(_CHECK_EVERY * steps))
    for step in range(steps + 1):
        more = step < steps
        result = session.query(
            state.points, attack.loss, toward=state.toward, gradient=more, propose=multiple == 1
        )
        better = result.losses > state.best_loss
        chosen = per_image(better, state.points)
        state.best = torch.where(chosen, state.points, state.best)
        state.best_loss = torch.where(better, result.losses, state.best_loss)
        if not more:
            state.points = state.best
            break
        state.gradient = result.ascent
        state.best_gradient = torch.where(chosen, state.gradient, state.best_gradient)
        if step and step % every == 0:
            _reconsider(session, state)
        state = session.unfinished(state)
        if session.finished:
            return state
        radius = multiple * session.eps
        move = sparse_sign(state.points, state.gradient, state.count.long())
        move = move * per_image(state.step * radius, state.points)
        state.points = session.threat.project(state.points + move, session.clean, radius)
    return session.unfinished(state)


def _reconsider(session: Session, state: _State) -> None:
    """Make steps as sparse as the best point. If it became sparser, return to it with a full step."""
    moved = count_moved(session, state.best)
    sparser = moved < 0.95 * state.moved
    chosen = per_image(sparser, state.points)
    state.step = torch.where(sparser, 1.0, (state.step / _STEP_SHRINKS).clamp(min=LEAST_STEP))
    state.count = fewer(moved)
    state.points = torch.where(chosen, state.best, state.points)
    state.gradient = torch.where(chosen, state.best_gradient, state.gradient)
    state.moved = moved


def fewer(moved: Tensor) -> Tensor:
    """Return (n,) how many values the next steps move, among those in which the best point differs."""
    return (moved / _COUNT_SHRINKS).ceil()


def count_moved(session: Session, points: Tensor) -> Tensor:
    """Return (n,) the number of values in which the points differ from the clean images."""
    return (points != session.clean).flatten(1).sum(dim=1).to(points.dtype)
