"""A search over the corners of an Linf ball, for classifiers that see few values of a pixel.

Our own. Behind a threshold an Linf ball becomes a set of black and white images, and each is what the
classifier sees at some corner of the ball. So a search over corners loses nothing, and needs no step size.
The gradient proposes which pixels to flip, and the classifier's answers decide; with a gradient of zero the
proposals are random. Iterated local search (Lourenco, Martin & Stuetzle 2003) leaves local optima.

Budget: ``steps`` gradients, and for each the forward passes of ``singles`` flips and of one group of flips
for each power of two up to the number of pixels.
"""

from dataclasses import dataclass
from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor

from robustlab.attacks.gradient_attack import GradientAttack
from robustlab.attacks.gradients import ExactGradient, Gradient
from robustlab.attacks.session import Session
from robustlab.attacks.square import corners
from robustlab.core.spec import register
from robustlab.threats import per_image

_IDLE = 1e-6
"""A flip that changes the margin by no more than this share counts as one that the classifier can't see."""

_PATIENCE = 6
"""Steps in a row without a gain before a kick."""


@register("flip_search")
class FlipSearch(GradientAttack):
    """Flips single pixels and groups of pixels between the ends of what is allowed, while the margin shrinks.

    Pixels whose flip changes nothing are not tried again. After a few steps without a gain the search goes on
    from the best corner with some pixels flipped.
    """

    norms = ("linf",)
    exact = True
    needs_gradient = False  # random flips need none
    selection_loss = "margin"

    steps: Annotated[int, Field(ge=1)] = 100
    singles: Annotated[int, Field(ge=1)] = 8
    """Flips of one pixel that are tried in each step."""
    kick: Annotated[float, Field(gt=0.0, le=1.0)] = 0.5
    """The largest share of the pixels that may be flipped then; each share below it is as likely."""
    gradient: Gradient = ExactGradient()

    @property
    def passes(self) -> int:
        # With a gradient, and groups of up to 4096 pixels.
        return (1 + self.singles + 12) * self.steps

    def search(self, session: Session) -> None:
        state, shape = _start(session), tuple(session.clean.shape[1:])
        for step in range(self.steps):
            result = session.query(_points(session, state.up), "margin", gradient=True)
            state.keep(result.losses)
            gains = _gains(session, state.up, result.ascent)
            gains += torch.finfo(gains.dtype).tiny * session.uniform("order", step, shape=shape)
            flips = _proposed(gains.masked_fill(state.idle | state.tried, -torch.inf), self.singles)
            points = torch.stack([_points(session, state.up ^ flip) for flip in flips])
            state.move(flips, session.query_many(points, "margin").losses, self.singles)
            state = session.unfinished(state)
            if session.finished:
                return
            draws = session.uniform("kick", step, shape=shape)
            share = session.uniform("share", step, shape=())
            state.kick(draws < self.kick * per_image(share, draws))


@dataclass
class _State:
    """The corner of each active image: which pixels (n, C, H, W) are at their upper ends, and its margin.

    Also the best corner and its margin; which pixels are idle; which were tried since the last move; and the
    steps without a gain.
    """

    up: Tensor
    margin: Tensor
    best: Tensor
    best_margin: Tensor
    idle: Tensor
    tried: Tensor
    failures: Tensor

    def keep(self, margin: Tensor) -> None:
        """Set the corner's margin, and keep the corner if it is the best one."""
        self.margin, better = margin, margin > self.best_margin
        self.best = torch.where(per_image(better, self.up), self.up, self.best)
        self.best_margin = torch.where(better, margin, self.best_margin)

    def move(self, flips: Tensor, margins: Tensor, singles: int) -> None:
        """Take the best of (k, n, C, H, W) flips, the first of which are single ones, if it is a gain."""
        unseen = (margins - self.margin).abs() <= _IDLE * self.margin.abs()
        self.idle = self.idle | (flips & unseen[..., None, None, None]).any(dim=0)
        highest, place = margins.max(dim=0)
        gained = highest > self.margin
        moved = self.up ^ flips[place, torch.arange(len(place), device=place.device)]
        self.up = torch.where(per_image(gained, moved), moved, self.up)
        self.tried = (self.tried | flips[:singles].any(dim=0)) & ~per_image(gained, moved)
        self.failures = torch.where(gained, 0, self.failures + 1)
        self.keep(torch.where(gained, highest, self.margin))

    def kick(self, flips: Tensor) -> None:
        """Go on from the best corner with some flips, where there was no gain for long, or none is left."""
        stuck = (self.failures >= _PATIENCE) | (self.idle | self.tried).flatten(1).all(dim=1)
        self.up = torch.where(per_image(stuck, flips), self.best ^ flips, self.up)
        self.tried = self.tried & ~per_image(stuck, flips)
        self.failures = torch.where(stuck, 0, self.failures)


def _start(session: Session) -> _State:
    """Return the corner to which the gradient at the clean image points; a random one in further restarts."""
    margin, shape = session.clean_loss("margin"), tuple(session.clean.shape[1:])
    up = session.uniform("start", shape=shape) < 0.5
    if session.restart == 0:
        gradient = session.gradient(session.clean, "margin")
        up = torch.where(gradient == 0, up, gradient > 0)
    none = torch.zeros_like(up)
    lowest = torch.full_like(margin, -torch.inf)
    return _State(up, lowest, up, lowest, none, none, torch.zeros_like(session.labels))


def _points(session: Session, up: Tensor) -> Tensor:
    low, high = corners(session)
    return torch.where(up, high, low)


def _gains(session: Session, up: Tensor, gradient: Tensor) -> Tensor:
    """Return (n, C, H, W) by how much each flip would raise the margin if the classifier were linear."""
    low, high = corners(session)
    return gradient * torch.where(up, low - high, high - low)


def _proposed(gains: Tensor, singles: int) -> Tensor:
    """Return (k, n, C, H, W) flips: the best single ones, then the best 2, 4, 8, ... that promise a gain."""
    flat = gains.flatten(1)
    ranks = flat.argsort(dim=1, descending=True).argsort(dim=1).view_as(gains)
    possible, hopeful = gains > -torch.inf, gains > 0
    alone = [(ranks == place) & possible for place in range(min(singles, flat.shape[1]))]
    sizes = [2**power for power in range(1, flat.shape[1].bit_length() + 1)]
    return torch.stack([*alone, *((ranks < size) & hopeful for size in sizes)])
