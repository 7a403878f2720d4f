"""Fast gradient sign method (Goodfellow, Shlens & Szegedy 2015, arXiv:1412.6572). Budget: 1 gradient."""

from typing import Annotated

from pydantic import Field

from robustlab.attacks.gradient_attack import GradientAttack
from robustlab.attacks.gradients import ExactGradient, Gradient
from robustlab.attacks.session import Session
from robustlab.core.spec import register


@register("fgsm")
class FGSM(GradientAttack):
    """One step of length eps in the direction of steepest ascent (for Linf, the sign of the gradient).

    With a random start the step is ``1.25 * eps`` long by default, as in Wong, Rice & Kolter 2020
    (arXiv:2001.03994), and the result is projected.
    """

    passes = 2

    random_start: bool = False
    """Whether the step begins at a random point instead of the clean image."""
    rel_step_size: Annotated[float, Field(gt=0.0)] | None = None
    """Step length as a fraction of eps; default 1, or 1.25 with a random start."""
    gradient: Gradient = ExactGradient()

    def search(self, session: Session) -> None:
        start = session.random_start() if self.random_start else session.clean
        step = self.rel_step_size or (1.25 if self.random_start else 1.0)
        session.propose(session.ascend(start, session.gradient(start, propose=False), step))
