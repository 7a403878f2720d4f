"""Square Attack: random search with square windows (Andriushchenko et al. 2020, arXiv:1912.00049).

Budget: queries forward passes per restart, the random start included. It uses no gradients. Unlike in the
paper, a step may try several windows at once: where few images are left, a pass of one window each is
mostly overhead.
"""

import math
from bisect import bisect_left
from collections.abc import Callable
from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor

from robustlab.attacks.base import Attack
from robustlab.attacks.losses import Loss
from robustlab.attacks.session import Session
from robustlab.attacks.square_bumps import bump_start, first_place, move_bumps, span, spans
from robustlab.core.spec import register
from robustlab.threats import per_image

_HALVINGS = (10, 50, 200, 500, 1000, 2000, 4000, 6000, 8000)
"""The iterations, out of ten thousand, after which the share of the pixels in a window halves."""

_BLOCK = 50
"""Queries whose random numbers are drawn at once: few large draws are faster than many small ones."""

Move = Callable[[Session, Tensor, Tensor, int], Tensor]
"""Changes a window of each image in several ways, as `repaint` does."""

TRIES = 6
"""Windows drawn for each query; the first one that changes the image is used."""


@register("square")
class Square(Attack):
    """Random search that changes one square window at a time and keeps changes that raise the loss.

    Each step tries ``proposals`` windows, one by one, and keeps the one that raises the loss most. Windows
    and signs are drawn for each image by itself. For L2 and L1 (arXiv:2103.01208) the norm of a window's
    change comes from a second window, and from the part of eps that clipping to [0, 1] left unused.
    """

    norms = ("linf", "l2", "l1")
    exact = True
    needs_gradient = False

    queries: Annotated[int, Field(ge=1)] = 5000
    p: Annotated[float, Field(gt=0.0, le=1.0)] = 0.8
    """The share of the pixels that the first windows cover."""
    loss: Loss = "margin"
    restarts: Annotated[int, Field(ge=1)] = 1
    rescale: bool = False
    """Whether the windows shrink faster when there are fewer than ten thousand queries."""

    proposals: Annotated[int, Field(ge=1)] = 1
    """Windows that a step tries; each is a query. With more of them a search takes fewer and larger steps."""

    @property
    def restart_count(self) -> int:
        return self.restarts

    @property
    def passes(self) -> int:
        return self.queries

    def search(self, session: Session) -> None:
        box = session.threat.separable
        channels = session.clean.shape[1]
        draw = (TRIES, 2 + channels) if box else (5 + channels,)
        move = repaint if box else _add_bumps
        points = _stripes(session) if box else bump_start(session)
        best, highest = points, session.query(points, self.loss).losses
        draws, block = points[:, :0], max(1, _BLOCK // self.proposals)
        for step in range((self.queries - 1) // self.proposals):
            # Images break fast at the start; later, checking each time would only make the device wait.
            if step < _BLOCK or step % 10 == 0:
                best, highest, draws = session.unfinished(best, highest, draws)
                if session.finished:
                    return
            if step % block == 0:
                draws = session.uniform("moves", step // block, shape=(block, self.proposals, *draw))
            windows = draws[:, step % block]
            side = self._side(step * self.proposals, session)
            points, losses = best_window(session, best, windows, side, self.loss, move)
            better = losses > highest
            best = torch.where(per_image(better, points), points, best)
            highest = torch.where(better, losses, highest)

    def _side(self, query: int, session: Session) -> int:
        """Return the side of the windows of a query, in pixels; it may exceed that of the image."""
        place = query * 10_000 // self.queries if self.rescale else query
        share = self.p / 2 ** bisect_left(_HALVINGS, place)
        return max(1, round(math.sqrt(share * session.clean[0, 0].numel())))


def best_window(
    session: Session, points: Tensor, draws: Tensor, side: int, loss: Loss, move: Move
) -> tuple[Tensor, Tensor]:
    """Change a window of each image, one by one in several ways, and return the best change with its loss.

    Args:
        session: the search.
        points: (n, C, H, W), allowed.
        draws: (n, k, ...) what each of the k ways draws.
        side: of the windows, in pixels.
        loss: which of them is best.
        move: how a window is changed.
    """
    tried = move(session, points, draws, side)
    losses, first = session.query_many(tried, loss).losses.max(dim=0)
    return tried[first, torch.arange(len(first), device=first.device)], losses


def corners(session: Session) -> tuple[Tensor, Tensor]:
    """Return the lowest and the highest allowed value of every pixel."""
    radius = per_image(session.eps, session.clean)
    return (session.clean - radius).clamp_(min=0.0), (session.clean + radius).clamp_(max=1.0)


def _stripes(session: Session) -> Tensor:
    """Return the Linf start: every column of every channel at its lowest or its highest values."""
    low, high = corners(session)
    channels, _, width = session.clean.shape[1:]
    return torch.where(session.uniform("start", shape=(channels, 1, width)) < 0.5, low, high)


def repaint(session: Session, points: Tensor, draws: Tensor, side: int) -> Tensor:
    """Set a window of each image to its lowest or highest allowed values, channel by channel.

    Args:
        session: the search.
        points: (n, C, H, W), allowed.
        draws: (n, k, tries, 2 + C) uniform numbers in [0, 1) for each of k changes: where the window begins,
            and the signs.
        side: of the window, in pixels.

    Returns:
        (k, n, C, H, W).
    """
    low, high = corners(session)
    height, width = points.shape[2:]
    tall, wide = min(side, height), min(side, width)
    # A window that already has these values would cost a query and change nothing. Pixels are 1 at the
    # highest value, -1 at the lowest, 0 elsewhere; signs of floats are faster than comparisons.
    at_ends = (points - low).sign_().sub_((high - points).sign_())
    sums = spans(side, height, points) @ (at_ends @ spans(side, width, points).T)
    top, left = first_place(draws[..., 0], side, height), first_place(draws[..., 1], side, width)
    places = (top * sums.shape[3] + left).long().flatten(1)
    found = sums.flatten(2).transpose(1, 2).gather(1, places[:, :, None].expand(-1, -1, sums.shape[1]))
    wanted = torch.where(draws[..., 2:] < 0.5, tall * wide, -tall * wide)
    idle = (found.view_as(wanted) == wanted).all(dim=3)
    chosen = idle.to(torch.uint8).argmin(dim=2)[:, :, None, None]
    draws = draws.gather(2, chosen.expand(-1, -1, -1, draws.shape[3])).squeeze(2).transpose(0, 1)
    rows, columns = span(draws[..., 0], side, height) > 0, span(draws[..., 1], side, width) > 0
    inside = (rows[..., :, None] & columns[..., None, :])[:, :, None]
    return torch.where(inside, torch.where(draws[..., 2:, None, None] < 0.5, high, low), points)


def _add_bumps(session: Session, points: Tensor, draws: Tensor, side: int) -> Tensor:
    """Change a window in k ways as `move_bumps` does; draws are (n, k, ...), the result (k, n, C, H, W)."""
    count = draws.shape[1]
    with session.repeated(count):
        draws = draws.transpose(0, 1).flatten(0, 1)
        moved = move_bumps(session, points.repeat(count, 1, 1, 1), draws, side)
    return moved.view(count, *points.shape)
