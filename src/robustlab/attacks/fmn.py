"""Fast minimum-norm attack (Pintor et al. 2021, arXiv:2102.12827). Budget: `steps` gradients.

Unlike in the paper, the estimated radius is increased by gamma, so that a step crosses a flat boundary.
Except for L0, a step that ends inside the ball is moved to its surface, as adv-lib's code does for L2. It is
also clipped to [0, 1] before the projection.
"""

from dataclasses import dataclass
from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor

from robustlab.attacks.gradient_attack import GradientAttack
from robustlab.attacks.gradients import ExactGradient, Gradient
from robustlab.attacks.schedules import cosine
from robustlab.attacks.session import Session
from robustlab.core.spec import register
from robustlab.threats import L2, per_image

_LAST_STEP, _LAST_GAMMA = 0.01, 0.001
_EUCLIDEAN = L2(eps=1.0)


@register("fmn")
class FMN(GradientAttack):
    """Steps along the gradient in a ball; its radius follows the estimated distance of the boundary."""

    norms = ("l0", "l1", "l2", "linf")
    minimum_norm = True

    steps: Annotated[int, Field(ge=1)] = 100
    step_size: Annotated[float, Field(gt=0.0)] = 1.0
    """The L2 length of the first step, on the pixel scale; the last is a hundredth of it."""
    gamma: Annotated[float, Field(gt=0.0, lt=1.0)] = 0.05
    """By which fraction the radius changes in the first step."""
    gradient: Gradient = ExactGradient()

    @property
    def passes(self) -> int:
        return self.steps

    def search(self, session: Session) -> None:
        state = _State(
            points=session.clean,
            radius=torch.full_like(session.eps, 1.0 if session.threat.discrete else torch.inf),
            nearest=torch.full_like(session.eps, torch.inf),
            losses=torch.zeros_like(session.eps),
            reached=torch.zeros_like(session.labels, dtype=torch.bool),
            gradient=session.clean,
        )
        for step in range(self.steps):
            result = session.query(state.points, "margin", gradient=True)
            state.losses, state.reached, state.gradient = result.losses, result.reached, result.ascent
            state = session.unfinished(state)
            if session.finished:
                return
            share = step / self.steps
            _resize(state, session, cosine(self.gamma, _LAST_GAMMA, share))
            length = self.step_size * cosine(1.0, _LAST_STEP, share)
            moved = _EUCLIDEAN.ascend(state.points, state.gradient, length)
            if not session.threat.projects_exactly:
                # Clip before the projection too: otherwise values outside [0, 1] use up the radius.
                moved = moved.clamp(0.0, 1.0)
            if not session.threat.discrete:
                moved = _outwards(moved, state.radius, session)
            state.points = session.threat.project(moved, session.clean, state.radius)
        session.query(state.points, "margin")


@dataclass
class _State:
    """The values that FMN keeps for each active image."""

    points: Tensor
    radius: Tensor
    nearest: Tensor
    losses: Tensor
    reached: Tensor
    gradient: Tensor


def _outwards(moved: Tensor, radius: Tensor, session: Session) -> Tensor:
    """Move points inside the radius out to it, where the boundary is estimated to be.

    If gradients mislead, steps that end inside would fall short of the boundary again and again.
    """
    distance = session.threat.distance(moved, session.clean).clamp(min=1e-12)
    stretch = torch.where(radius.isfinite(), (radius / distance).clamp(min=1.0), 1.0)
    return session.clean + per_image(stretch, moved) * (moved - session.clean)


def _resize(state: _State, session: Session, gamma: float) -> None:
    """Shrink the radius after a success, else grow it; before any success, to the estimated boundary."""
    distance = session.threat.distance(state.points, session.clean)
    state.nearest = torch.where(state.reached, state.nearest.minimum(distance), state.nearest)
    has_success = state.nearest.isfinite()
    smaller, larger = state.radius * (1 - gamma), state.radius * (1 + gamma)
    if session.threat.discrete:
        smaller = smaller.floor().minimum(state.radius - 1).clamp(min=0.0)
        larger = larger.floor().maximum(state.radius + 1)
    else:
        ahead = state.losses.abs() / session.threat.dual_norm(state.gradient)
        # Larger than the estimate by gamma: otherwise a step would reach a flat boundary but never cross it.
        larger = torch.where(has_success, larger, (distance + ahead) * (1 + gamma))
    state.radius = torch.where(state.reached, smaller.minimum(state.nearest), larger)
