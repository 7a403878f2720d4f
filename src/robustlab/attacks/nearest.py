"""The nearest success by steepest steps in a ball that follows it. Budget: `steps` gradients.

The ball that shrinks on success and grows otherwise is that of DDN (Rony et al. 2019, arXiv:1811.09600) and FMN
(Pintor et al. 2021, arXiv:2102.12827). What differs: steps steepest in the norm, as long as a share of the radius,
with momentum; the cross-entropy as loss; and no radius beyond eps, so that up to a first success this is PGD.
"""

from dataclasses import dataclass
from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor

from robustlab.attacks.apgd import ranked_class
from robustlab.attacks.base import Attack
from robustlab.attacks.descent import cosine
from robustlab.attacks.losses import Loss
from robustlab.attacks.session import Session
from robustlab.core.spec import register
from robustlab.core.threat import L2, per_image

_FIRST_RADIUS = 0.25
_MOMENTUM = 0.5
_LAST_STEP, _LAST_GAMMA = 0.02, 0.005
_EUCLIDEAN = L2(eps=1.0)


@register("nearest")
class Nearest(Attack):
    """Steepest steps in a ball that shrinks below each success and else grows; for curves and distances."""

    norms = ("linf", "l2", "l1")
    minimal_norm = True

    steps: Annotated[int, Field(ge=1)] = 100
    step: Annotated[float, Field(gt=0.0)] = 0.6
    """The length of the first step as a share of the radius."""
    gamma: Annotated[float, Field(gt=0.0, lt=1.0)] = 0.1
    """By how much of itself the radius changes in the first step."""
    loss: Loss = "cross_entropy"
    targets: Annotated[int, Field(ge=0)] = 0
    restarts: Annotated[int, Field(ge=1)] = 1

    @property
    def restart_count(self) -> int:
        return self.restarts * max(1, self.targets)

    def search(self, session: Session) -> None:
        toward = ranked_class(session, session.restart % self.targets) if self.targets else None
        farthest = session.threat.distance((session.clean < 0.5).to(session.clean.dtype), session.clean)
        limit = session.eps.minimum(farthest)
        radius = _FIRST_RADIUS * limit if not session.verdict else limit
        points = session.clean if session.restart < max(1,self.targets) else session.random_start(radius)
        state = _State(points, points, radius, limit, points, toward)
        for step in range(self.steps):
            reading = session.query(state.points, self.loss, toward=state.toward, gradient=True)
            state.gradient, reached = reading.ascent, reading.reached
            distance = session.threat.distance(state.points, session.clean)
            state.limit = torch.where(reached, state.limit.minimum(distance), state.limit)
            share = step / self.steps
            gamma = cosine(self.gamma, _LAST_GAMMA, share)
            larger = (state.radius * (1 + gamma)).minimum(state.limit)
            state.radius = torch.where(reached, state.limit * (1 - gamma), larger)
            session.prune(state)
            if session.finished:
                return
            self._move(session, state, cosine(self.step, _LAST_STEP, share))
        session.query(state.points, self.loss, toward=state.toward)

    def _move(self, session: Session, state: "_State", share: float) -> None:
        geometry = _EUCLIDEAN if session.threat.name == "l1" else session.threat
        if session.threat.name == "l1": share = share/2
        moved = geometry.ascend(state.points, state.gradient, share, state.radius)
        moved = moved + _MOMENTUM * (state.points - state.before)
        if session.threat.name == "l2": moved = moved.clamp(0,1)
        state.before, state.points = state.points, session.threat.project(moved, session.clean, state.radius)


@dataclass
class _State:
    """What is remembered of each active image; no ball reaches beyond the limit."""

    points: Tensor
    before: Tensor
    radius: Tensor
    limit: Tensor
    gradient: Tensor
    toward: Tensor | None
