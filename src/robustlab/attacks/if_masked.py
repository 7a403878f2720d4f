"""An attack for the images on which gradients are masked: where they find no more than chance does.

Our own, after the check that a gradient which loses to random points is a masked one (Carlini et al. 2019,
arXiv:1902.06705). Budget per restart: six gradients to see whether gradients nearby agree, ``steps`` more and
``points`` + 1 forward passes for each image, then the attack's own where gradients are masked.
"""

from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor

from robustlab.attacks.base import Attack
from robustlab.attacks.gradient_agreement import AGREED, LOOKS, agreement
from robustlab.attacks.gradients import ExactGradient
from robustlab.attacks.schedules import cosine
from robustlab.attacks.session import Session
from robustlab.attacks.wrapper import Wrapper
from robustlab.core.spec import register

_ROUNDING = 1e-4
"""The share of the clean image's margin by which it may seem to rise where nothing has changed."""


@register("if_masked")
class IfMasked(Wrapper):
    """Runs an attack where gradient steps raise the margin no more than random points do, or disagree nearby.

    A long search without gradients brings little where gradients work, and everything where they do not. The
    rule looks at one image alone, and at no scale.
    """

    attack: Attack
    steps: Annotated[int, Field(ge=1)] = 10
    """Along the gradient, of falling length, from the clean image."""
    points: Annotated[int, Field(ge=1)] = 5
    """Each the farthest along a random direction. More of them find a gradient masked that is merely weak."""

    @property
    def passes(self) -> int | None:
        own = self.attack.passes
        return own and LOOKS + self.steps + self.points + 1 + own

    def search(self, session: Session) -> None:
        with session.estimating(ExactGradient()):
            masked = _masked(session, self.steps, self.points)
        session.unfinished(done=~masked)
        if not session.finished:
            self.attack.search(session)


def _masked(session: Session, steps: int, points: int) -> Tensor:
    """Return (n,) whether gradients disagree with each other, or do no better than random points.

    What is found on the way does not count, for it would be taken for a find of the attack.
    """
    shattered = agreement(session).cosine < AGREED
    at, margins = session.clean, []
    for step in range(steps):
        result = session.query(at, "margin", gradient=True, propose=False)
        margins.append(result.losses)
        at = session.ascend(at, result.ascent, cosine(1.0, 0.0, step / steps))
    clean, *gained = [*margins, session.query(at, "margin", propose=False).losses]
    chance = clean * (1 - _ROUNDING)  # chance may as well stay where it is
    for number in range(points):
        direction = session.normal("chance", number, shape=tuple(session.clean.shape[1:]))
        farthest = session.ascend(session.clean, direction, 1.0)
        chance = chance.maximum(session.query(farthest, "margin", propose=False).losses)
    return shattered | (torch.stack(gained).amax(dim=0) <= chance)
