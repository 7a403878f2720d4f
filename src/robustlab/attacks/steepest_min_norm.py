"""The nearest success, by steepest steps in a ball that follows it. Budget: `steps` gradients.

The ball that shrinks on success and grows otherwise is that of DDN (Rony et al. 2019, arXiv:1811.09600) and
FMN (Pintor et al. 2021, arXiv:2102.12827). Differences: each step is the steepest one in the threat model's
norm, its length is a share of the radius, and it has momentum. The loss is cross-entropy, and no ball is
larger than eps.
"""

from dataclasses import dataclass
from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor

from robustlab.attacks.gradient_attack import GradientAttack
from robustlab.attacks.gradients import ExactGradient, Gradient
from robustlab.attacks.linearized import useful_radius
from robustlab.attacks.losses import Loss
from robustlab.attacks.schedules import cosine
from robustlab.attacks.session import Session
from robustlab.core.spec import register
from robustlab.threats import L2

_FIRST_RADIUS, _MOMENTUM = 0.25, 0.5
_LAST_STEP, _LAST_GAMMA = 0.02, 0.005
_EUCLIDEAN = L2(eps=1.0)


@register("steepest_min_norm")
class SteepestMinNorm(GradientAttack):
    """Steepest steps in a ball that shrinks inside each success and grows otherwise."""

    norms = ("linf", "l2", "l1")
    minimum_norm = True
    drawn_as = "nearest"

    steps: Annotated[int, Field(ge=1)] = 100
    rel_step_size: Annotated[float, Field(gt=0.0)] = 0.6
    """The length of the first step as a share of the radius."""
    gamma: Annotated[float, Field(gt=0.0, lt=1.0)] = 0.1
    """By which fraction the radius changes in the first step."""
    loss: Loss = "cross_entropy"
    gradient: Gradient = ExactGradient()

    @property
    def passes(self) -> int:
        return self.steps

    def search(self, session: Session) -> None:
        state = _start(session)
        for step in range(self.steps):
            result = session.query(state.points, self.loss, gradient=True)
            state.gradient = result.ascent
            share = step / self.steps
            _resize(session, state, result.reached, cosine(self.gamma, _LAST_GAMMA, share))
            state = session.unfinished(state)
            if session.finished:
                return
            _move(session, state, cosine(self.rel_step_size, _LAST_STEP, share))
        session.query(state.points, self.loss)


@dataclass
class _State:
    """The values that are kept for each active image; no ball is larger than the limit."""

    points: Tensor
    before: Tensor
    gradient: Tensor
    radius: Tensor
    limit: Tensor


def _start(session: Session) -> _State:
    """Begin at the clean image; in later restarts at a random point in a part of the largest ball."""
    limit = useful_radius(session)
    radius = _FIRST_RADIUS * limit
    points = session.clean if session.restart == 0 else session.random_start(radius)
    return _State(points=points, before=points, gradient=points, radius=radius, limit=limit)


def _resize(session: Session, state: _State, reached: Tensor, gamma: float) -> None:
    distance = session.threat.distance(state.points, session.clean)
    state.limit = torch.where(reached, state.limit.minimum(distance), state.limit)
    larger = (state.radius * (1 + gamma)).minimum(state.limit)
    state.radius = torch.where(reached, state.limit * (1 - gamma), larger)


def _move(session: Session, state: _State, share: float) -> None:
    if session.threat.sparse:
        # The projection makes a Euclidean step as sparse as necessary.
        moved = _EUCLIDEAN.ascend(state.points, state.gradient, share / 2, state.radius)
    else:
        moved = session.threat.ascend(state.points, state.gradient, share, state.radius)
    moved = moved + _MOMENTUM * (state.points - state.before)
    if not session.threat.projects_exactly:
        # Clip before the projection too: otherwise values outside [0, 1] use up the radius.
        moved = moved.clamp(0.0, 1.0)
    state.before, state.points = state.points, session.threat.project(moved, session.clean, state.radius)
