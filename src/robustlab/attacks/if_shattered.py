"""An attack on smoothed gradients, for the images around which gradients are shattered.

A gradient that is another one a hair's breadth away does not say where a step leads (shattered gradients,
Athalye, Carlini & Wagner 2018, arXiv:1802.00420); the mean over points nearby does, as their expectation over
transformations. Budget per restart: six gradients for each image, to see whether it is one of these; then the
attack's own, with ``draws`` gradients and a forward pass in the place of each.
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
    """Runs an attack on means of gradients nearby, on the images where these disagree with each other.

    An image is left alone where they agree, and where one of them is zero, for then the mean is next to
    nothing too. The rule looks at one image alone, and at no scale. An attack whose
    gradients are not exact keeps its own estimator. Without the choice of images it is the attack with
    ``gradient=smoothed(...)``.
    """

    attack: Attack
    draws: Annotated[int, Field(ge=1)] = 16
    """Points around each one at which the attack asks for a gradient."""
    std: PixelLength = STD
    """Standard deviation of the noise that leads to them, in pixel units."""
    agreement: Annotated[float, Field(ge=-1.0, le=1.0)] = AGREED
    """The mean cosine between gradients nearby from which on an image is left alone; with 1 none is."""

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
