"""Projected gradient descent (Madry et al. 2018, arXiv:1706.06083). Budget: steps * restarts gradients."""

from typing import Annotated

from pydantic import Field

from robustlab.attacks.gradient_attack import GradientAttack
from robustlab.attacks.gradients import ExactGradient, Gradient
from robustlab.attacks.initialization import Start, begin
from robustlab.attacks.losses import Loss
from robustlab.attacks.session import Session
from robustlab.core.spec import register


@register("pgd")
class PGD(GradientAttack):
    """Repeated steps of length ``rel_step_size * eps`` from random starts; each step is projected."""

    steps: Annotated[int, Field(ge=1)] = 40
    rel_step_size: Annotated[float, Field(gt=0.0)] = 0.1
    """Step length as a fraction of eps. On the study's CNN 1/10 finds more than the 1/30 of Madry et al."""
    restarts: Annotated[int, Field(ge=1)] = 1
    loss: Loss = "cross_entropy"
    start: Start = "random"
    gradient: Gradient = ExactGradient()

    @property
    def restart_count(self) -> int:
        return self.restarts

    @property
    def passes(self) -> int:
        return self.steps + 1

    def search(self, session: Session) -> None:
        points = begin(self.start, session)
        for _ in range(self.steps):
            gradient = session.gradient(points, self.loss)
            points, gradient = session.unfinished(points, gradient)
            if session.finished:
                return
            points = session.ascend(points, gradient, self.rel_step_size)
        session.propose(points, self.loss)
