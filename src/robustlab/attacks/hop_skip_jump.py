"""HopSkipJump: an attack by decisions only (Chen, Jordan & Wainwright 2020, arXiv:1904.02144).

Budget: about 0.7 * samples * steps^1.5 forward passes, and a few tens per step for the searches.
"""

import math
from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor

from robustlab.attacks.base import Attack
from robustlab.attacks.session import Session
from robustlab.core.spec import register
from robustlab.threats import per_image

_STARTS = 40
"""Random images that are tried until each image has a misclassified one."""
_BLOCK = 10
"""Directions that are measured in one pass."""
_MOST_SAMPLES = 10_000
_HALVINGS = 15
_FIRST_WIDTH = 0.1


@register("hop_skip_jump")
class HopSkipJump(Attack):
    """From a misclassified random image along the boundary towards the clean image.

    Each step estimates the boundary's normal from the classes of nearby points, jumps along it, and searches
    the boundary again towards the clean image. With a target class it begins at a random image of that class,
    and gives up if it finds none.
    """

    norms = ("l2", "linf")
    minimum_norm = True
    needs_gradient = False

    steps: Annotated[int, Field(ge=1)] = 40
    samples: Annotated[int, Field(ge=1)] = 100
    """Points for the normal in the first step; step t uses the square root of t times as many."""

    def search(self, session: Session) -> None:
        points, has_start = _starts(session)
        wrong = session.query(session.clean, propose=False).reached
        points = session.unfinished(points, done=~has_start | wrong)
        if session.finished:
            return
        points = _to_boundary(session, points)
        for step in range(1, self.steps + 1):
            points = session.unfinished(points)
            if session.finished:
                return
            count = min(round(self.samples * math.sqrt(step)), _MOST_SAMPLES)
            normal = _normal(session, points, step, count)
            points = _to_boundary(session, _jump(session, points, normal, step))


def _starts(session: Session) -> tuple[Tensor, Tensor]:
    """Return misclassified blends of noise and the clean images, and (n,) for which images one was found."""
    start, has_start = session.clean, torch.zeros_like(session.labels, dtype=torch.bool)
    for number in range(_STARTS):
        noise = session.uniform("start", number, shape=tuple(start.shape[1:]))
        weight = 1 - (number % 4) / 4
        blend = weight * noise + (1 - weight) * session.clean
        reached = session.query(blend, propose=False).reached
        start = torch.where(per_image(reached & ~has_start, blend), blend, start)
        has_start |= reached
        if has_start.all():
            break
    return start, has_start


def _to_boundary(session: Session, points: Tensor) -> Tensor:
    """Return misclassified points next to the boundary, on the line from given ones to the clean images."""
    low, high = torch.zeros_like(session.eps), torch.ones_like(session.eps)
    power = 2 - 1 / session.threat.order
    for _ in range(min(math.ceil(power * math.log2(points[0].numel())), 22)):
        middle = (low + high) / 2
        reached = session.query(session.threat.between(session.clean, points, middle)).reached
        low, high = torch.where(reached, low, middle), torch.where(reached, middle, high)
    return session.threat.between(session.clean, points, high)


def _normal(session: Session, points: Tensor, step: int, count: int) -> Tensor:
    """Return the direction, of length 1 in L2 or of signs, in which most points are misclassified."""
    shape, box = tuple(points.shape[1:]), session.threat.separable
    width = session.threat.distance(points, session.clean).clamp(min=1e-6) / points[0].numel()
    width = per_image(torch.full_like(width, _FIRST_WIDTH) if step == 1 else width, points)
    verdicts = torch.zeros_like(session.eps)
    plain = signed = torch.zeros_like(points)
    for block, first in enumerate(range(0, count, _BLOCK)):
        if box:
            draws = 2 * session.uniform("directions", step, block, shape=(_BLOCK, *shape)) - 1
        else:
            draws = session.normal("directions", step, block, shape=(_BLOCK, *shape))
        draws = draws.transpose(0, 1)[: count - first]
        length: Tensor = torch.linalg.vector_norm(draws, dim=(2, 3, 4), keepdim=True)
        asked = (points + width * draws / length).clamp(0.0, 1.0)
        directions = (asked - points) / width
        early_stop = 2.0 * session.query_many(asked).reached - 1
        verdicts = verdicts + early_stop.sum(dim=0)
        plain = plain + directions.sum(dim=0)
        signed = signed + (early_stop[:, :, None, None, None] * directions).sum(dim=0)
    # Subtracting the mean lowers the variance, unless all points lie on one side.
    mean = per_image(verdicts / count, points)
    normal = torch.where(mean.abs() < 1, signed - mean * plain, mean * plain)
    if box:
        return normal.sign()
    size: Tensor = torch.linalg.vector_norm(normal, dim=(1, 2, 3), keepdim=True)
    return normal / size.clamp(min=1e-12)


def _jump(session: Session, points: Tensor, normal: Tensor, step: int) -> Tensor:
    """Step along the normal; halve the step until the points are misclassified."""
    length = session.threat.distance(points, session.clean) / math.sqrt(step)
    landed, arrived = points, torch.zeros_like(session.labels, dtype=torch.bool)
    for _ in range(_HALVINGS):
        tried = (points + per_image(length, points) * normal).clamp(0.0, 1.0)
        # The later search finds nearer points, so these do not decide the result.
        reached = session.query(tried, propose=False).reached
        landed = torch.where(per_image(reached & ~arrived, tried), tried, landed)
        arrived |= reached
        if arrived.all():
            break
        length = length / 2
    return landed
