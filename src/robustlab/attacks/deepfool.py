"""DeepFool (Moosavi-Dezfooli et al. 2016, arXiv:1511.04599).

Budget: at most `steps` times one gradient per candidate class; with a target, one gradient.
"""

from typing import Annotated

from pydantic import Field

from robustlab.attacks.gradient_attack import GradientAttack
from robustlab.attacks.gradients import ExactGradient, Gradient
from robustlab.attacks.linearized import likeliest, nearest_boundary
from robustlab.attacks.session import Session
from robustlab.core.spec import register

_LEAST_STEP = 1e-5
"""The smallest step on the pixel scale, so that an image on the boundary crosses it; the paper's authors use
1e-4."""


@register("deepfool")
class DeepFool(GradientAttack):
    """Steps onto the nearest class boundary of the linearised classifier, until the class changes.

    Each step is the paper's, clipped to [0, 1]. If half of the steps did not reach the goal, the others are
    the shortest steps within [0, 1]. Here each step overshoots; in the paper only their sum does.
    """

    norms = ("linf", "l2")
    minimum_norm = True

    steps: Annotated[int, Field(ge=1)] = 50
    candidates: Annotated[int, Field(ge=2)] = 10
    """How many of the most likely classes are considered, including the label."""
    overshoot: Annotated[float, Field(ge=0.0)] = 0.02
    """By which fraction of its length a step goes beyond the boundary."""
    gradient: Gradient = ExactGradient()

    @property
    def passes(self) -> int:
        return self.steps

    def search(self, session: Session) -> None:
        threat, points, classes = session.threat, session.clean, likeliest(session, self.candidates)
        for step in range(self.steps):
            gap, gradient, reached = nearest_boundary(session, points, classes)
            rise = (1 + self.overshoot) * gap + _LEAST_STEP * threat.dual_norm(gradient)
            move = (
                threat.straight_move(gradient, rise)
                if 2 * step < self.steps
                else threat.move_inside(points, gradient, rise)
            )
            points = (points + move).clamp(0.0, 1.0)
            points, classes = session.unfinished(points, classes, done=reached)
            if session.finished:
                return
        session.query(points)
