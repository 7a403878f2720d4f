"""Sparse-RS: random search over which values change (Croce et al. 2022, arXiv:2006.12834), its L0 version.

Budget: queries forward passes, the random start included. It uses no gradients.
"""

from bisect import bisect_left
from dataclasses import dataclass
from typing import Annotated, Self

import torch
from pydantic import Field
from torch import Tensor

from robustlab.attacks.base import Attack
from robustlab.attacks.losses import Loss
from robustlab.attacks.session import Session
from robustlab.core.spec import register
from robustlab.threats import per_image

_UNTIL = (50, 200, 500, 1000, 2000, 4000, 6000, 8000)
_DIVISORS = (2, 4, 5, 6, 8, 10, 12, 15, 20)
"""What alpha is divided by: by the first until iteration 50 of ten thousand, by the second until 200, ..."""

_BLOCK = 50
"""Iterations whose random numbers are drawn at once: few large draws are faster than many small ones."""


@register("sparse_rs")
class SparseRS(Attack):
    """Random search that moves changes to other places of the image, and keeps what raises the loss.

    As many values as eps allows are always changed, each to 0 or 1. In an iteration some of them become clean
    again and as many others change. If too few are left, changed values turn to their other end. The paper
    moves whole pixels; here each channel counts, so single values move. A new value is 1 with probability 1
    minus the clean value. So it never equals the clean value, and large changes are more likely.
    """

    norms = ("l0",)
    exact = True
    needs_gradient = False

    queries: Annotated[int, Field(ge=1)] = 5000
    alpha: Annotated[float, Field(gt=0.0, le=1.0)] = 0.3
    """Twice the share of the changes that the first iterations move. The share shrinks, and faster if there
    are fewer than ten thousand queries."""
    loss: Loss = "margin"

    @property
    def passes(self) -> int:
        return self.queries

    def search(self, session: Session) -> None:
        state = _State.start(session)
        state.losses = session.query(state.points, self.loss).losses
        state = session.unfinished(state, done=state.count == 0)
        for step in range(self.queries - 1):
            # Images break fast at the start; later, checking each time would only make the device wait.
            if step < _BLOCK or step % 10 == 0:
                state = session.unfinished(state)
            if session.finished:
                return
            size = (self._share(step + 1) * state.count).long().clamp(min=1)
            if step % _BLOCK == 0:
                # Other images may add numbers at the end of an image's draw; those before stay the same.
                state.draws = session.uniform("moves", step // _BLOCK, shape=(int(size.max()), _BLOCK, 3))
            move = _Move.of(state, session.clean, state.draws[:, :, step % _BLOCK], size)
            state.update(move, session.query(move.points, self.loss).losses)

    def _share(self, iteration: int) -> float:
        """Return the share of the changes that an iteration moves."""
        place = iteration * 10_000 // min(self.queries, 10_000)
        return self.alpha / _DIVISORS[bisect_left(_UNTIL, place)]


@dataclass
class _State:
    """The state of the search for n active images of D values.

    Attributes:
        points: (n, C, H, W) the best points.
        losses: (n,) their losses.
        count: (n,) how many values are changed.
        order: (n, D) the places of all values, those of the changed ones first.
        draws: (n, moves, iterations, 3) the random numbers of a block of iterations.
    """

    points: Tensor
    losses: Tensor
    count: Tensor
    order: Tensor
    draws: Tensor

    @classmethod
    def start(cls, session: Session) -> Self:
        """Return random changes at random places; the losses are not known yet."""
        clean = session.clean.flatten(1)
        draws = session.uniform("start", shape=(2, clean.shape[1]))
        order = draws[:, 0].argsort(dim=1, stable=True)
        count = session.eps.long().clamp(max=clean.shape[1])
        changed = order.argsort(dim=1) < count[:, None]
        points = torch.where(changed, _changed(clean, draws[:, 1]), clean).view_as(session.clean)
        return cls(points=points, losses=session.eps, count=count, order=order, draws=draws[:, :0])

    def update(self, move: "_Move", losses: Tensor) -> None:
        """Keep the moves whose losses (n,) are higher."""
        better = losses > self.losses
        self.losses = torch.where(better, losses, self.losses)
        self.points = torch.where(per_image(better, self.points), move.points, self.points)
        new = torch.where(better[:, None], move.new, move.old)
        old = torch.where(better[:, None], move.old, move.new)
        self.order.scatter_(1, move.ranks, new).scatter_(1, move.new_ranks, old)


@dataclass(frozen=True)
class _Move:
    """Changes that moved to other places; an image with fewer than m of them names its last one again.

    Attributes:
        points: (n, C, H, W) with the moved changes.
        ranks: (n, m) where the places of the old changes are in the order.
        new_ranks: (n, m) where those of the new ones are.
        old: (n, m) the places of the old changes.
        new: (n, m) those of the new ones; the same where the value turns to its other end.
    """

    points: Tensor
    ranks: Tensor
    new_ranks: Tensor
    old: Tensor
    new: Tensor

    @classmethod
    def of(cls, state: _State, clean: Tensor, draws: Tensor, size: Tensor) -> Self:
        """Move ``size`` (n,) changes of each image, by draws (n, m, 3) in [0, 1)."""
        values, points = clean.flatten(1), state.points.flatten(1)
        count, size = state.count[:, None], size[:, None]
        number = torch.arange(draws.shape[1], device=draws.device).minimum(size - 1)
        draws = draws.gather(1, number[..., None].expand_as(draws))
        left = values.shape[1] - count
        free = number < left
        ranks = _one_of_each_part(number, size, count, draws[..., 0])
        among_clean = _one_of_each_part(number, size.minimum(left).clamp(min=1), left, draws[..., 1])
        new_ranks = torch.where(free, count + among_clean, ranks)
        old, new = state.order.gather(1, ranks), state.order.gather(1, new_ranks)
        changed = torch.where(free, _changed(values.gather(1, new), draws[..., 2]), 1 - points.gather(1, old))
        moved = points.scatter(1, old, values.gather(1, old)).scatter_(1, new, changed)
        return cls(moved.view_as(clean), ranks, new_ranks, old, new)


def _changed(clean: Tensor, draws: Tensor) -> Tensor:
    """Return 0 or 1 for each clean value, by draws in [0, 1)."""
    return (draws >= clean).to(clean.dtype)


def _one_of_each_part(number: Tensor, parts: Tensor, length: Tensor, draws: Tensor) -> Tensor:
    """Divide a row into equal parts, and return a random place (n, m) in the part of each number (n, m).

    So the places differ. The length of the row and the number of parts are (n, 1), the draws (n, m).
    """
    first, end = number * length // parts, (number + 1) * length // parts
    return first + (draws * (end - first)).long().clamp(min=0).minimum((end - first - 1).clamp(min=0))
