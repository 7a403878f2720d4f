"""Rotations and translations (Engstrom et al. 2019, arXiv:1712.02779).

Budget: angles * shifts^2 forward passes, or ``draws``.
"""

import itertools
from typing import Annotated

from pydantic import Field

from robustlab.attacks.base import Attack
from robustlab.attacks.losses import Loss
from robustlab.attacks.session import Session
from robustlab.attacks.warp import rotations, warp
from robustlab.core.spec import register


@register("rotation_translation")
class RotationTranslation(Attack):
    """The worst of many rotations and translations; bilinear, with zeros from outside the image."""

    norms = ("unbounded",)
    needs_gradient = False

    rotation: Annotated[float, Field(ge=0.0, le=180.0)] = 30.0
    """The largest angle, in degrees."""
    shift: Annotated[float, Field(ge=0.0)] = 3.0
    """The largest translation along each side, in pixels."""
    angles: Annotated[int, Field(ge=1)] = 31
    """The number of angles in the grid."""
    shifts: Annotated[int, Field(ge=1)] = 5
    """The number of shifts in the grid, in either direction."""
    draws: Annotated[int, Field(ge=0)] = 0
    """Random points within the same limits instead of the grid, different for each image; 0: the grid."""
    loss: Loss = "margin"

    @property
    def passes(self) -> int:
        return self.draws or self.angles * self.shifts**2

    def search(self, session: Session) -> None:
        grid = [] if self.draws else self.grid()
        for number in range(self.passes):
            session.unfinished()
            if session.finished:
                return
            if grid:
                place = session.clean.new_tensor(grid[number]).expand(len(session.clean), 3)
            else:
                limits = session.clean.new_tensor([self.rotation, self.shift, self.shift])
                place = (2 * session.uniform("place", number, shape=(3,)) - 1) * limits
            turn, move = place[:, 0].deg2rad(), place[:, 1:]
            # Let p be the new place and q the old one: p = R q + move, so q = R^-1 (p - move).
            back = rotations(-turn)
            points = warp(session.clean, back, -(back @ move[:, :, None]).squeeze(2))
            session.propose(points.clamp(0.0, 1.0), self.loss)

    def grid(self) -> list[tuple[float, float, float]]:
        """Return angles in degrees, and shifts in pixels to the right and down; the largest moves first."""

        def size(move: tuple[float, float, float]) -> float:
            angle, across, down = move
            return abs(angle) / max(self.rotation, 1e-9) + (abs(across) + abs(down)) / max(self.shift, 1e-9)

        angles = _spread(self.rotation, self.angles)
        lengths = _spread(self.shift, self.shifts)
        # Large moves break more images, so they come first; broken images cost no more passes.
        return sorted(itertools.product(angles, lengths, lengths), key=size, reverse=True)


def _spread(largest: float, count: int) -> list[float]:
    """Return ``count`` evenly spaced numbers from -largest to largest; 0 if the count is 1."""
    if count == 1 or largest == 0:
        return [0.0]
    return [largest * (2 * i + 1 - count) / (count - 1) for i in range(count)]
