"""An attack for the images on which gradients are masked: where they find no more than chance does.

Our own, after the check that a gradient which loses to random points is a masked one (Carlini et al. 2019,
arXiv:1902.06705). Budget: ``steps`` gradients and ``points`` + 1 forward passes for each image, then the
attack's own where gradients are masked.
"""

from dataclasses import dataclass
from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor

from robustlab.attacks.base import Attack
from robustlab.attacks.descent import cosine
from robustlab.attacks.session import Session
from robustlab.core.spec import register

_ROUNDING = 1e-4
"""The share of the clean image's margin by which it may seem to rise where nothing has changed."""


@register("where_masked")
class WhereMasked(Attack):
    """Runs an attack on the images whose margin gradient steps raise no more than random points do.

    A long search without gradients brings little where gradients work, and everything where they do not. The
    rule looks at one image alone, and at no scale.
    """

    attack: Attack
    steps: Annotated[int, Field(ge=1)] = 10
    """Along the gradient, of falling length, from the clean image."""
    points: Annotated[int, Field(ge=1)] = 5
    """Each the farthest along a random direction. More of them find a gradient masked that is merely weak."""

    @property
    def core(self) -> Attack:
        return self.attack.core

    @property
    def restart_count(self) -> int:
        return self.attack.restart_count

    def search(self, session: Session) -> None:
        _leave_masked(session, self.steps, self.points)
        if not session.finished:
            self.attack.search(session)


@dataclass
class _State:
    """Where the gradient leads, and the best margins (n,) that it and chance reach."""

    at: Tensor
    gradient: Tensor
    chance: Tensor


def _leave_masked(session: Session, steps: int, points: int) -> None:
    """Drop the images on which gradients do better than random points, until the restart ends.

    What is found on the way does not count, for it would be taken for a find of the attack.
    """
    lowest = torch.full_like(session.eps, -torch.inf)
    state = _State(session.clean, lowest, lowest)
    for step in range(steps):
        reading = session.query(state.at, "margin", gradient=True, propose=False)
        if step == 0:
            state.chance = reading.losses * (1 - _ROUNDING)  # chance may as well stay where it is
        else:
            state.gradient = state.gradient.maximum(reading.losses)
        state.at = session.ascend(state.at, reading.ascent, cosine(1.0, 0.0, step / steps))
    state.gradient = state.gradient.maximum(session.query(state.at, "margin", propose=False).losses)
    for number in range(points):
        direction = session.normal("chance", number, shape=tuple(session.clean.shape[1:]))
        farthest = session.ascend(session.clean, direction, 1.0)
        state.chance = state.chance.maximum(session.query(farthest, "margin", propose=False).losses)
    session.prune(state, done=state.gradient > state.chance)
