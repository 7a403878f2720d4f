"""Fast gradient sign method (Goodfellow, Shlens & Szegedy 2015, arXiv:1412.6572). Budget: 1 gradient."""

from robustlab.attacks.base import Attack
from robustlab.attacks.session import Session
from robustlab.core.spec import register


@register("fgsm")
class FGSM(Attack):
    """One step of length eps along the gradient's steepest ascent (its sign, for Linf)."""

    def search(self, session: Session) -> None:
        gradient = session.gradient(session.clean, propose=False)
        session.propose(session.threat.ascend(session.clean, gradient, fraction=1.0))
