"""DistanceSearch: walks towards single classes, then walks from points around the nearest success.

Our own: iterated local search (Lourenco, Martin & Stuetzle 2003) whose walks are those of FAB (Croce & Hein
2020, arXiv:1907.02044), of FMN (Pintor et al. 2021, arXiv:2102.12827) and of APGD for L1, with its shrinking
balls (Croce & Hein 2021, arXiv:2103.01208). A single long walk ends at a local minimum of the distance. A
short one from a changed copy of the nearest success often ends at a nearer one. Less budget should go to
images that resist (arXiv:2203.05154).
"""

from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor

from robustlab.attacks.apgd import ranked_class
from robustlab.attacks.apgd_l1 import LEAST_STEP, count_moved, fewer
from robustlab.attacks.fab import step_beyond
from robustlab.attacks.fmn import follow_boundary
from robustlab.attacks.gradient_attack import GradientAttack
from robustlab.attacks.gradients import ExactGradient, Gradient
from robustlab.attacks.schedules import cosine
from robustlab.attacks.session import Session
from robustlab.attacks.walk import Walk
from robustlab.core.spec import register
from robustlab.threats import L2, per_image
from robustlab.threats.l1 import sparse_sign

_AIM_EVERY = 4
"""Within L1, every which round begins with a walk towards a single class."""

_NEAR = ((0.5, 0.5), (1.0, 1.0), (2.0, 1.0))
"""The short walks of a round: the L2 length of the noise on the nearest success, and that of the first step,
as multiples of the success's own L2 distance. Within L1 only the first of them."""

_OUTSIDE, _CLOSER, _OUTSIDE_STEPS = 4.0, 0.8, 16
"""How far a walk from outside begins and ends, as multiples of the distance of the nearest success. The noise
on it is as many times as long as its L2 distance."""

_ETA, _ALPHA_MAX, _BACK = 1.2, 0.1, 0.9
"""As FAB's ``eta``, ``alpha_max`` and ``beta``; with FAB's own eta of 1.05 masked gradients hold it up."""

_GAMMA = 0.05
_EUCLIDEAN = L2(eps=1.0)


@register("distance_search")
class DistanceSearch(GradientAttack):
    """Walks to the nearest success, on the images whose nearest success comes close to eps.

    Within L2 walks of FAB come first, from the clean image towards each of the ``aims`` most likely wrong
    classes. Each round then has three short walks of FMN from the nearest success with noise. Within L1 every
    fourth round begins with a walk to the next class. Then come one walk of FMN, and one from far outside, in
    balls that shrink to less than the distance of the nearest success. The attack gives an image up if two
    conditions hold. The nearest success is farther than ``1 + keep`` times eps. And the last round lowered
    its distance beyond eps by less than a tenth. ``keep`` shrinks by ``tighten`` in each round. The rule does
    not depend on other images. In ``max-loss`` mode no image is given up.

    Budget: for each of the ``aims`` ``survey`` gradients, then up to ``rounds`` times ``3 * steps`` gradients
    within L2 and ``steps + 16`` within L1, for those that are not given up.
    """

    norms = ("l2", "l1")
    minimum_norm = True

    survey: Annotated[int, Field(ge=1)] = 80
    """Steps towards each class."""
    aims: Annotated[int, Field(ge=0)] = 4
    """How many of the most likely wrong classes there are walks to."""
    rounds: Annotated[int, Field(ge=1)] = 20
    steps: Annotated[int, Field(ge=1)] = 10
    """Steps of a short walk."""
    keep: Annotated[float, Field(ge=0.0)] = 1.0
    """The share of eps beyond which an image may be given up."""
    tighten: Annotated[float, Field(gt=0.0, le=1.0)] = 0.8
    """The factor of ``keep`` in each round."""
    gradient: Gradient = ExactGradient()

    @property
    def passes(self) -> int:
        # The last point of a walk takes a pass, too.
        near = max(len(_NEAR) * (self.steps + 1), self.steps + 1 + _OUTSIDE_STEPS + 1)
        return self.aims * (self.survey + 1) + self.rounds * near

    def search(self, session: Session) -> None:
        walk = Walk.start(session)
        before = torch.full_like(session.everyone, torch.inf, dtype=walk.distance.dtype)
        near = _NEAR[:1] if session.threat.sparse else _NEAR
        for turn in range(self.rounds):
            for rank in self._ranks(session, turn):
                walk = self._aim(session, walk, rank)
            for place, (noise, length) in enumerate(near):
                walk = self._near(session, walk, len(_NEAR) * turn + place, noise, length)
            if session.threat.sparse:
                walk = self._from_outside(session, walk, turn)
            walk = self._drop(session, walk, before, self.keep * self.tighten**turn)
            if session.finished:
                return

    def _ranks(self, session: Session, turn: int) -> range:
        """Return the ranks of the classes that a round begins with walks to."""
        if not session.threat.sparse:
            return range(0 if turn else self.aims)
        rank, later = divmod(turn, _AIM_EVERY)
        return range(rank, min(self.aims, rank + (not later)))

    def _drop(self, session: Session, walk: Walk, before: Tensor, keep: float) -> Walk:
        """Give up images whose distance beyond eps is large and did not shrink; update ``before`` (N,)."""
        beyond = walk.distance / session.eps - 1
        stuck = beyond > 0.9 * before[session.rows]
        before[session.rows] = beyond
        return session.unfinished(walk, done=stuck & (beyond > keep)) if session.early_stop else walk

    def _aim(self, session: Session, walk: Walk, rank: int) -> Walk:
        """Walk from the clean image over the boundary of the wrong class of this rank.

        Unlike FAB it estimates the boundary at the point that it reached, not at the one that it steps back
        to after a success. So a step takes one gradient, and no pass besides.
        """
        toward = ranked_class(session, rank)
        if session.finished or (toward < 0).all():
            return walk  # there are fewer classes, or the attacker wants a single one
        walk.points, walk.toward = session.clean, toward
        for _ in range(self.survey):
            walk = walk.evaluate(session)
            if session.finished:
                return walk
            back = session.clean + _BACK * (walk.points - session.clean)
            behind = torch.where(per_image(walk.reached, back), back, walk.points)
            rise = -(walk.losses + (walk.gradient * (behind - walk.points)).flatten(1).sum(dim=1))
            walk.points = step_beyond(session, behind, rise, walk.gradient, _ETA, _ALPHA_MAX)
        walk.toward = None
        return walk.evaluate(session, gradient=False)

    def _near(self, session: Session, walk: Walk, number: int, noise: float, length: float) -> Walk:
        """Walk from the nearest success with noise; before the first success, from a random point."""
        if session.finished:
            return walk
        radius, size = _extent(session, walk)
        walk.points = _noisy(session, walk, number, noise * size, radius)
        walk.radius = walk.distance
        walk.length = length * size
        return follow_boundary(session, walk, self.steps, _GAMMA)

    def _from_outside(self, session: Session, walk: Walk, turn: int) -> Walk:
        """Walk from far outside, in L1 balls that shrink to less than the distance of the nearest success."""
        if session.finished:
            return walk
        radius, size = _extent(session, walk)
        walk.points = _noisy(session, walk, -1 - turn, _OUTSIDE * size, _OUTSIDE * radius)
        walk.radius = _OUTSIDE * radius
        for step in range(_OUTSIDE_STEPS):
            walk = walk.evaluate(session)
            if session.finished:
                return walk
            radius, _ = _extent(session, walk)
            last = (_CLOSER * radius).minimum((radius + session.eps) / 2)
            walk.radius = walk.radius * (last / walk.radius) ** (1 / (_OUTSIDE_STEPS - step))
            length = per_image(walk.radius * cosine(1.0, LEAST_STEP, step / _OUTSIDE_STEPS), walk.points)
            move = length * sparse_sign(walk.points, walk.gradient, _count(session, walk))
            walk.points = session.threat.project(walk.points + move, session.clean, walk.radius)
        return walk.evaluate(session, gradient=False)


def _extent(session: Session, walk: Walk) -> tuple[Tensor, Tensor]:
    """Return (n,) the distance of the nearest success, and its L2 distance; before the first, eps and 1."""
    found, size = walk.distance.isfinite(), _EUCLIDEAN.distance(walk.nearest, session.clean)
    return torch.where(found, walk.distance, session.eps), torch.where(found, size, 1.0)


def _noisy(session: Session, walk: Walk, number: int, noise: Tensor, radius: Tensor) -> Tensor:
    """Return the nearest success with noise of an L2 length (n,), projected to the ball of a radius (n,)."""
    draws = session.normal("near", number, shape=tuple(session.clean.shape[1:]))
    moved = _EUCLIDEAN.ascend(walk.nearest, draws, noise).clamp(0.0, 1.0)
    return session.threat.project(moved, session.clean, radius)


def _count(session: Session, walk: Walk) -> Tensor:
    """Return (n,) how many values a step moves: fewer than differ in the nearest success, or in the point."""
    found = per_image(walk.distance.isfinite(), walk.points)
    return fewer(count_moved(session, torch.where(found, walk.nearest, walk.points))).long()
