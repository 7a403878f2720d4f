"""The starts of gradient searches: one function per kind of start; every start is an allowed point."""

from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor

from robustlab.attacks.session import Session
from robustlab.threats import per_image

Start = Literal["clean", "random", "surface", "corner", "pattern", "odi"]

_ODI_STEPS = 2
_SIDES = (2, 3, 4, 5, 7, 1)
"""Sides of a pattern's blocks, in pixels, in the order of the restarts; 1 equals a corner, so it comes
last."""


def begin(kind: Start, session: Session) -> Tensor:
    """Return a start for each active image, a different one in each restart (except ``"clean"``)."""
    starts: dict[Start, Callable[[], Tensor]] = {
        "clean": lambda: session.clean,
        "random": session.random_start,
        "surface": lambda: surface(session),
        "corner": lambda: corner(session),
        "pattern": lambda: pattern(session),
        "odi": lambda: output_diversified(session),
    }
    return starts[kind]()


def surface(session: Session, radius: Tensor | None = None) -> Tensor:
    """Return random points on the surface of the ball of eps, or of a radius (n,) below it, within [0, 1].

    As in arXiv:2003.01690. In an L1 ball all pixels move; at a random point of that ball only few do.
    """
    shape = tuple(session.clean.shape[1:])
    if session.threat.separable:
        draws = 2 * session.uniform("start", shape=shape) - 1
    else:
        draws = session.normal("start", shape=shape)
    length = session.threat.distance(session.clean + draws, session.clean)
    scale = (session.eps if radius is None else radius) / length.clamp(min=1e-12)
    return session.project(session.clean + draws * per_image(scale, draws))


def corner(session: Session, turn: int = 0) -> Tensor:
    """Return points at which every pixel is moved by +eps or -eps; for other norms they are projected."""
    up = session.uniform("corner", turn, shape=tuple(session.clean.shape[1:])) < 0.5
    return _moved(session, up)


def pattern(session: Session, turn: int = 0) -> Tensor:
    """Return points at which whole blocks are moved by +eps or -eps.

    The filters of a network that was trained against Linf attacks act as thresholds. Random pixels do not
    exceed them, since they cancel out under a filter; blocks do.
    """
    channels, height, width = session.clean.shape[1:]
    side = _SIDES[(session.restart + turn) % len(_SIDES)]
    rows, columns = -(-height // side), -(-width // side)
    up = session.uniform("pattern", turn, shape=(channels, rows, columns)) < 0.5
    up = up.repeat_interleave(side, dim=2)[:, :, :height].repeat_interleave(side, dim=3)[..., :width]
    return _moved(session, up)


def output_diversified(session: Session) -> Tensor:
    """Return the points after steps along a random direction of the logits (arXiv:2003.06878)."""
    points = session.random_start()
    weights = 2 * session.uniform("odi", shape=(session.clean_logits.shape[1],)) - 1
    for _ in range(_ODI_STEPS):
        points = session.ascend(points, session.gradient(points, lambda z: (weights * z).sum(dim=1)), 1.0)
    return points


def _moved(session: Session, up: Tensor) -> Tensor:
    radius = per_image(session.eps, session.clean)
    return session.project(session.clean + torch.where(up, radius, -radius))
