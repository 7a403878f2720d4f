"""An attack on smoothed gradients, for images with shattered gradients.

A shattered gradient changes within a very short distance, so it does not show where a step leads (Athalye,
Carlini & Wagner 2018, arXiv:1802.00420). The mean over nearby points does, as their expectation over
transformations. Budget per restart: six gradients for each image, to test whether its gradients are
shattered. Then the attack's own budget follows; each gradient of it takes ``draws`` gradients and a forward
pass.
"""

from contextlib import AbstractContextManager, nullcontext
from typing import Annotated

from pydantic import Field

from robustlab.attacks.base import Attack
from robustlab.attacks.gradient_agreement import AGREED, LOOKS, agreement
from robustlab.attacks.gradients import ExactGradient, SmoothedGradient
from robustlab.attacks.gradients.smoothed import STD
from robustlab.attacks.session import Session
from robustlab.attacks.wrapper import Wrapper
from robustlab.core.spec import PixelLength, register


@register("if_shattered")
class IfShattered(Wrapper):
    """Runs an attack on means of nearby gradients, for the images where these disagree with each other.

    An image is skipped if its gradients agree. It is also skipped if one of them is zero, since then the mean
    is close to zero too. The decision for an image depends neither on other images nor on the scale of the
    logits. An attack whose gradients are not exact keeps its own estimator. If no image is skipped, it is the
    attack with ``gradient=smoothed(...)``.
    """

    attack: Attack
    draws: Annotated[int, Field(ge=1)] = 16
    """Nearby points for each gradient of the attack."""
    std: PixelLength = STD
    """Standard deviation of the noise that is added to a point, on the pixel scale."""
    agreement: Annotated[float, Field(ge=-1.0, le=1.0)] = AGREED
    """An image is skipped if the mean cosine between nearby gradients is at least this; with 1 none is
    skipped."""

    @property
    def passes(self) -> int | None:
        own = self.attack.passes
        return own and LOOKS + own * (self.draws + 1)

    def search(self, session: Session) -> None:
        if self.agreement < 1:
            nearby = agreement(session)
            session.unfinished(done=(nearby.cosine >= self.agreement) | nearby.silent)
        if not session.finished:
            with self._estimating(session):
                self.attack.search(session)

    def _estimating(self, session: Session) -> AbstractContextManager[None]:
        if self.inner.estimator != ExactGradient():
            return nullcontext()
        return session.estimating(SmoothedGradient(draws=self.draws, std=self.std))
