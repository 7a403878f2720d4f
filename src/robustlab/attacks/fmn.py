"""Fast minimum-norm attack (Pintor et al. 2021, arXiv:2102.12827). Budget: `steps` gradients.

Unlike in the paper, the estimated radius is increased by gamma, so that a step crosses a flat boundary.
Except for L0, a step that ends inside the ball is moved to its surface, as adv-lib's code does for L2. It is
also clipped to [0, 1] before the projection.
"""

from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor

from robustlab.attacks.gradient_attack import GradientAttack
from robustlab.attacks.gradients import ExactGradient, Gradient
from robustlab.attacks.schedules import cosine
from robustlab.attacks.session import Session
from robustlab.attacks.walk import Walk
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
        walk = Walk.start(session)
        walk.length = torch.full_like(session.eps, self.step_size)
        follow_boundary(session, walk, self.steps, self.gamma)


def follow_boundary(session: Session, walk: Walk, steps: int, gamma: float) -> Walk:
    """Take the steps; the last one is a hundredth of the first.

    Returns:
        The walk of the images that are not finished.
    """
    for step in range(steps):
        result = session.query(walk.points, "margin", toward=walk.toward, gradient=True)
        walk.losses, walk.reached, walk.gradient = result.losses, result.reached, result.ascent
        walk = session.unfinished(walk)
        if session.finished:
            return walk
        share = step / steps
        _resize(walk, session, walk.note(session), cosine(gamma, _LAST_GAMMA, share))
        moved = _EUCLIDEAN.ascend(walk.points, walk.gradient, walk.length * cosine(1.0, _LAST_STEP, share))
        if not session.threat.projects_exactly:
            # Clip before the projection too: otherwise values outside [0, 1] use up the radius.
            moved = moved.clamp(0.0, 1.0)
        if not session.threat.discrete:
            moved = _outwards(moved, walk.radius, session)
        walk.points = session.threat.project(moved, session.clean, walk.radius)
    return walk.evaluate(session, gradient=False)


def _outwards(moved: Tensor, radius: Tensor, session: Session) -> Tensor:
    """Move points inside the radius out to it, where the boundary is estimated to be.

    If gradients mislead, steps that end inside would fall short of the boundary again and again.
    """
    distance = session.threat.distance(moved, session.clean).clamp(min=1e-12)
    stretch = torch.where(radius.isfinite(), (radius / distance).clamp(min=1.0), 1.0)
    return session.clean + per_image(stretch, moved) * (moved - session.clean)


def _resize(walk: Walk, session: Session, distance: Tensor, gamma: float) -> None:
    """Shrink the radius after a success, else grow it; before any success, to the estimated boundary."""
    smaller, larger = walk.radius * (1 - gamma), walk.radius * (1 + gamma)
    if session.threat.discrete:
        smaller = smaller.floor().minimum(walk.radius - 1).clamp(min=0.0)
        larger = larger.floor().maximum(walk.radius + 1)
    else:
        ahead = walk.losses.abs() / session.threat.dual_norm(walk.gradient)
        # Larger than the estimate by gamma: otherwise a step would reach a flat boundary but never cross it.
        larger = torch.where(walk.distance.isfinite(), larger, (distance + ahead) * (1 + gamma))
    walk.radius = torch.where(walk.reached, smaller.minimum(walk.distance), larger)
