"""An attack for images with masked gradients, where gradients help no more than random points.

Our own. It is based on the check of Carlini et al. 2019 (arXiv:1902.06705): a gradient that is worse than
random points is masked. Budget per restart: six gradients to test whether nearby gradients agree, ``points``
forward passes, and at most ``steps`` gradients and a forward pass, until a step lies above all random points.
Where gradients are masked the attack's own budget is added.
"""

from typing import Annotated

from pydantic import Field

from robustlab.attacks.base import Attack
from robustlab.attacks.gradient_agreement import AGREED, LOOKS, agreement
from robustlab.attacks.gradients import ExactGradient
from robustlab.attacks.schedules import cosine
from robustlab.attacks.session import Session
from robustlab.attacks.wrapper import Wrapper
from robustlab.core.spec import register

_ROUNDING = 1e-4
"""A rise of the margin up to this share of the clean image's margin counts as rounding."""


@register("if_masked")
class IfMasked(Wrapper):
    """Runs an attack where gradients raise the margin no more than random points do, or disagree nearby.

    A long search without gradients helps little if gradients are useful, and much if they are not. The
    decision for an image depends neither on other images nor on the scale of the logits.
    """

    attack: Attack
    steps: Annotated[int, Field(ge=1)] = 10
    """Steps along the gradient, of decreasing length, from the clean image."""
    points: Annotated[int, Field(ge=1)] = 5
    """Random points, each the farthest along a random direction. With more of them, weak gradients that are
    not masked count as masked too."""

    @property
    def passes(self) -> int | None:
        own = self.attack.passes
        return own and LOOKS + self.steps + self.points + 1 + own

    def search(self, session: Session) -> None:
        with session.estimating(ExactGradient()):
            _leave_out_useful(session, self.steps, self.points)
        if not session.finished:
            self.attack.search(session)


def _leave_out_useful(session: Session, steps: int, points: int) -> None:
    """Leave out the images whose gradients agree and lead higher than every random point.

    The points of this test do not count as results; otherwise they would count as successes of the attack.
    """
    shattered = agreement(session).cosine < AGREED
    # The random points need not follow the gradient.
    clean = session.clean_loss("margin")
    chance = clean + _ROUNDING * clean.abs()
    for number in range(points):
        direction = session.normal("chance", number, shape=tuple(session.clean.shape[1:]))
        farthest = session.ascend(session.clean, direction, 1.0)
        chance = chance.maximum(session.query(farthest, "margin", propose=False).losses)
    at = session.clean
    for step in range(steps):
        result = session.query(at, "margin", gradient=True, propose=False)
        useful = (result.losses > chance) & ~shattered
        at, ascent, chance, shattered = session.unfinished(at, result.ascent, chance, shattered, done=useful)
        if session.finished:
            return
        at = session.ascend(at, ascent, cosine(1.0, 0.0, step / steps))
    useful = (session.query(at, "margin", propose=False).losses > chance) & ~shattered
    session.unfinished(done=useful)
