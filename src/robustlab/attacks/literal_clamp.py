"""FGSM with a common mistake: images normalised to [-1, 1] are clamped to [0, 1]."""

from typing import Annotated

from pydantic import Field

from robustlab.attacks.gradient_attack import GradientAttack
from robustlab.attacks.gradients import ExactGradient, Gradient
from robustlab.attacks.session import Session
from robustlab.core.spec import register


@register("fgsm_literal_clamp")
class FGSMLiteralClamp(GradientAttack):
    """FGSM on images normalised to [-1, 1], clamped to [0, 1] there; eps in normalised units.

    The clamp changes every pixel darker than mid-grey to mid-grey, for every eps, so this is not a bounded
    attack. It reproduces a common mistake; use `FGSM` for anything else.
    """

    norms = ("unbounded",)
    passes = 2

    eps: Annotated[float, Field(ge=0.0, le=2.0)]
    gradient: Gradient = ExactGradient()

    def search(self, session: Session) -> None:
        sign = session.gradient(session.clean, propose=False).sign()
        normalized = 2 * session.clean - 1
        session.propose(((normalized + self.eps * sign).clamp(0.0, 1.0) + 1) / 2)
