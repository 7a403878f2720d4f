"""RayS: a search by decisions only, along rays of signs (Chen & Gu 2020, arXiv:2006.12792).

Budget: queries forward passes. An image of few values that comes no nearer for long takes fewer.
"""

from dataclasses import dataclass
from typing import Annotated, Self

import torch
from pydantic import Field
from torch import Tensor

from robustlab.attacks.base import Attack
from robustlab.attacks.session import Session
from robustlab.core.spec import register
from robustlab.threats import per_image

_TOLERANCE = 1 / 300
"""How exactly a radius is searched, as a share of it."""
_PATIENCE = 40
"""Queries, times the number of values, after which an image that comes no nearer is left out."""


@register("rays")
class RayS(Attack):
    """Moves all values by the same length, each up or down, and turns blocks of them while that comes nearer.

    First all values are one block, then halves, quarters and so on. With a block turned, the classifier is
    asked once, at the smallest radius so far. Only if the goal is still reached there, bisection looks for a
    smaller one. After blocks of one value the search begins again, with the values in a random order. The
    first direction is all values up, and random signs in a further restart. With a target class it finds an
    image only if a ray leads into that class.
    """

    norms = ("linf",)
    minimum_norm = True
    needs_gradient = False

    queries: Annotated[int, Field(ge=1)] = 10_000

    @property
    def passes(self) -> int:
        return self.queries

    def search(self, session: Session) -> None:
        rays = _Rays.of(session)
        done = session.query(session.clean, propose=False).reached
        for query in range(1, self.queries):
            rays = session.unfinished(rays, done=done)
            if session.finished:
                return
            radius, signs = rays.next()
            if session.early_stop:
                radius = torch.maximum(radius, session.eps)  # a nearer success is not needed
            moves = per_image(radius, session.clean) * signs.view_as(session.clean)
            rays.update(radius, signs, session.query((session.clean + moves).clamp(0.0, 1.0)).reached)
            if rays.ended.any():
                # Every active image was asked about as often, so the draws do not depend on the batch.
                rays.shuffle(session.uniform("order", query, shape=tuple(rays.order.shape[1:])))
            done = rays.idle > _PATIENCE * rays.order.shape[1]


@dataclass
class _Rays:
    """The state of the search for n active images of D values.

    Attributes:
        signs: (n, D) the best direction, of -1 and 1.
        radius: (n,) how far along it the goal is reached; at first 1, where every value is at 0 or 1.
        low: (n,) the largest radius along it at which the goal is not reached; -1: the direction is new.
        order: (n, D) the place of each value in the row that is divided into blocks.
        blocks: (n,) how many blocks there are.
        block: (n,) the one to turn next; -1: none yet.
        ended: (n,) whether all blocks of one value were tried.
        idle: (n,) queries since the radius became smaller.
    """

    signs: Tensor
    radius: Tensor
    low: Tensor
    order: Tensor
    blocks: Tensor
    block: Tensor
    ended: Tensor
    idle: Tensor

    @classmethod
    def of(cls, session: Session) -> Self:
        values, zeros = session.clean.flatten(1), torch.zeros_like(session.labels)
        far = torch.ones_like(session.eps)
        up = torch.ones_like(values)
        return cls(
            signs=up if session.restart == 0 else torch.where(session.noise().flatten(1) < 0, -up, up),
            radius=far,
            low=far,
            order=torch.arange(values.shape[1], device=values.device).expand(values.shape),
            blocks=zeros + 1,
            block=zeros - 1,
            ended=zeros > 0,
            idle=zeros,
        )

    @property
    def bisecting(self) -> Tensor:
        """(n,) whether the radius of the best direction is not known yet."""
        return self.low < (1 - _TOLERANCE) * self.radius

    def next(self) -> tuple[Tensor, Tensor]:
        """Return the radius (n,) and the direction (n, D) to ask about next."""
        # Along a new direction the radius is often hardly smaller, so that is asked first.
        middle = torch.where(self.low < 0, (1 - _TOLERANCE) * self.radius, (self.low + self.radius) / 2)
        radius = torch.where(self.bisecting, middle, self.radius).clamp(min=0.0)
        size = self.order.shape[1]
        first, end = (((self.block + k) * size // self.blocks)[:, None] for k in (0, 1))
        turned = (self.order >= first) & (self.order < end) & ~self.bisecting[:, None]
        return radius, torch.where(turned, -self.signs, self.signs)

    def update(self, radius: Tensor, signs: Tensor, reached: Tensor) -> None:
        """Learn whether the goal is reached (n,) at a radius (n,) along directions (n, D) from `next`."""
        bisecting, size = self.bisecting, self.order.shape[1]
        self.idle = torch.where(reached & (radius < self.radius), 0, self.idle + 1)
        self.signs = torch.where(reached[:, None], signs, self.signs)
        below = torch.where(reached, self.low.clamp(min=0.0), radius)
        self.low = torch.where(bisecting, below, torch.where(reached, -1.0, self.low))
        self.radius = torch.where(reached, radius, self.radius)
        over = ~self.bisecting
        self.low = torch.where(over, self.radius, self.low)
        block = torch.where(over, self.block + 1, self.block)
        last = block == self.blocks
        self.ended = last & (self.blocks == size)
        self.block = torch.where(last, 0, block)
        self.blocks = torch.where(last, (2 * self.blocks).clamp(max=size), self.blocks)

    def shuffle(self, draws: Tensor) -> None:
        """Begin again with two blocks, in an order from draws (n, D), where the blocks had one value."""
        self.order = torch.where(self.ended[:, None], draws.argsort(dim=1), self.order)
        self.blocks = torch.where(self.ended, min(2, self.order.shape[1]), self.blocks)
