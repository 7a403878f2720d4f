"""Fast adaptive boundary attack (Croce & Hein 2020, arXiv:1907.02044), by default as in AutoAttack.

Budget per restart, or per target class: steps gradients and twice as many forward passes.
"""

from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor

from robustlab.attacks.apgd import ranked_class
from robustlab.attacks.gradient_attack import GradientAttack
from robustlab.attacks.gradients import ExactGradient, Gradient
from robustlab.attacks.initialization import surface
from robustlab.attacks.linearized import likeliest, nearest_boundary, useful_radius
from robustlab.attacks.session import Session
from robustlab.attacks.walk import Walk
from robustlab.core.spec import register
from robustlab.threats import per_image


@register("fab")
class FAB(GradientAttack):
    """Projects point and clean image onto the linearised boundary in [0, 1]; steps back on success."""

    norms = ("linf", "l2", "l1")
    minimum_norm = True

    steps: Annotated[int, Field(ge=1)] = 100
    targets: Annotated[int, Field(ge=0)] = 9
    """How many of the most likely wrong classes are targets, one restart each. 0: each step goes towards the
    nearest class, and takes one gradient per class."""
    alpha_max: Annotated[float, Field(ge=0.0, le=1.0)] = 0.1
    """The largest weight of the clean image's projection, in [0, 1]."""
    eta: Annotated[float, Field(ge=1.0)] = 1.05
    """By which fraction of its length a step goes beyond the boundary."""
    beta: Annotated[float, Field(ge=0.0, lt=1.0)] = 0.9
    """The share of the way from the clean image that is kept after a success."""
    restarts: Annotated[int, Field(ge=1)] = 1
    """How often the search runs; every run after the first begins at a random point on the sphere of radius
    eps / 2."""
    gradient: Gradient = ExactGradient()

    @property
    def restart_count(self) -> int:
        return self.restarts * max(1, self.targets)

    @property
    def passes(self) -> int:
        return 2 * self.steps

    def search(self, session: Session) -> None:
        repeat, place = divmod(session.restart, max(1, self.targets))
        toward = ranked_class(session, place) if self.targets else session.targets
        if toward is not None and (toward < 0).all():
            return  # there are fewer classes than targets
        walk = Walk.start(session)
        walk.points = session.clean if repeat == 0 else surface(session, useful_radius(session) / 2)
        walk.toward = toward
        for _ in range(self.steps):
            rise, gradient = _boundary(session, walk)
            walk.points = step_beyond(session, walk.points, rise, gradient, self.eta, self.alpha_max)
            walk.reached = session.query(walk.points, "margin").reached
            walk.note(session)
            back = session.clean + self.beta * (walk.points - session.clean)
            walk.points = torch.where(per_image(walk.reached, back), back, walk.points)
            walk = session.unfinished(walk)
            if session.finished:
                return


def step_beyond(
    session: Session, points: Tensor, rise: Tensor, gradient: Tensor, eta: float, alpha_max: float
) -> Tensor:
    """Return points slightly beyond the linearised boundary: a mean of two projections onto it.

    One is of the points, one of the clean images; the nearer one has more weight.

    Args:
        session: the images.
        points: (n, C, H, W).
        rise: (n,) by how much the difference of logits must rise at the points.
        gradient: (n, C, H, W) of that difference.
        eta: by which factor a projection is longer than the way to the boundary.
        alpha_max: the largest weight of the clean image's projection.
    """
    clean, threat = session.clean, session.threat
    further = rise + (gradient * (points - clean)).flatten(1).sum(dim=1)
    own, first = threat.move_inside(points, gradient, rise), threat.move_inside(clean, gradient, further)
    zero = torch.zeros_like(clean)
    near, far = (threat.distance(moves, zero).clamp(min=1e-8) for moves in (own, first))
    alpha = per_image((near / (near + far)).clamp(max=alpha_max), clean)
    moved = (1 - alpha) * (points + eta * own) + alpha * (clean + eta * first)
    return moved.clamp(0.0, 1.0)


def _boundary(session: Session, walk: Walk) -> tuple[Tensor, Tensor]:
    """Return the difference of logits (n,) that is missing to the boundary, and its gradient."""
    if walk.toward is None:
        classes = likeliest(session, session.clean_logits.shape[1])
        return nearest_boundary(session, walk.points, classes)[:2]
    result = session.query(walk.points, "margin", toward=walk.toward, gradient=True)
    return -result.losses, result.ascent
