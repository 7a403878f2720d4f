"""DistanceSearch: short walks along the boundary from points near the nearest success.

Our own: iterated local search (Lourenco, Martin & Stuetzle 2003) whose local search is FMN (Pintor et al.
2021, arXiv:2102.12827). A single long walk ends at a local minimum of the distance. A short one from a
changed copy of the nearest success often ends at a nearer one.
"""

from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor

from robustlab.attacks.apgd import ranked_class
from robustlab.attacks.fmn import Walk, follow_boundary
from robustlab.attacks.gradient_attack import GradientAttack
from robustlab.attacks.gradients import ExactGradient, Gradient
from robustlab.attacks.session import Session
from robustlab.core.spec import register
from robustlab.threats import L2

_NEAR = ((0.5, 0.5), (1.0, 1.0), (2.0, 1.0))
"""The walks of a round: the L2 length of the noise on the nearest success, and that of the first step, as
multiples of the success's own L2 distance."""

_GAMMA = 0.05
_EUCLIDEAN = L2(eps=1.0)


@register("distance_search")
class DistanceSearch(GradientAttack):
    """Short walks of FMN from the nearest success with noise, on the images whose distance keeps shrinking.

    A walk from the clean image comes first. Each round has three short walks from the nearest success with
    noise of three lengths. After the second round come walks from the clean image towards single classes. The
    attack gives an image up if two conditions hold. The nearest success is farther than ``1 + keep`` times
    eps. And the last round lowered the distance beyond eps by less than a tenth. ``keep`` shrinks by
    ``tighten`` in each round. The rule does not depend on other images. In ``max-loss`` mode no image is
    given up.

    Budget: ``2 * steps`` gradients from the clean image, ``4 * steps`` for each of the ``aims``, and up to
    ``rounds`` times ``3 * steps``.
    """

    norms = ("l2", "l1")
    minimum_norm = True

    steps: Annotated[int, Field(ge=1)] = 10
    """Steps of a short walk."""
    rounds: Annotated[int, Field(ge=0)] = 20
    aims: Annotated[int, Field(ge=0)] = 2
    """Classes, after the most likely wrong one, towards which there are walks from the clean image."""
    keep: Annotated[float, Field(ge=0.0)] = 0.5
    """The share of eps beyond which an image may be given up."""
    tighten: Annotated[float, Field(gt=0.0, le=1.0)] = 0.9
    """The factor of ``keep`` in each round."""
    gradient: Gradient = ExactGradient()

    @property
    def passes(self) -> int:
        # The last point of a walk takes a pass, too.
        rounds = self.rounds * len(_NEAR) * (self.steps + 1)
        return 2 * self.steps + 1 + self.aims * (4 * self.steps + 1) + rounds

    def search(self, session: Session) -> None:
        walk = follow_boundary(session, Walk.start(session, 1.0), 2 * self.steps, _GAMMA)
        before = torch.full_like(session.everyone, torch.inf, dtype=walk.distance.dtype)
        for turn in range(self.rounds):
            if turn == 2:
                for rank in range(1, self.aims + 1):
                    walk = self._aim(session, walk, rank)
            excess = walk.distance / session.eps - 1
            if session.early_stop and turn > 2:
                stuck = excess > 0.9 * before[session.rows]
                walk = session.unfinished(walk, done=stuck & (excess > self.keep * self.tighten**turn))
                excess = walk.distance / session.eps - 1
            if session.finished:
                return
            before[session.rows] = excess
            for place, (noise, length) in enumerate(_NEAR):
                if not session.finished:
                    walk = self._near(session, walk, len(_NEAR) * turn + place, noise, length)

    def _near(self, session: Session, walk: Walk, number: int, noise: float, length: float) -> Walk:
        """Walk from the nearest success with noise; before the first success, from a random point."""
        found, size = walk.distance.isfinite(), _sizes(session, walk)
        draws = session.normal("near", number, shape=tuple(session.clean.shape[1:]))
        start = _EUCLIDEAN.ascend(walk.nearest, draws, noise * size).clamp(0.0, 1.0)
        radius = torch.where(found, walk.distance, session.eps)
        walk.points = session.threat.project(start, session.clean, radius)
        walk.radius = walk.distance
        walk.length = length * size
        return follow_boundary(session, walk, self.steps, _GAMMA)

    def _aim(self, session: Session, walk: Walk, rank: int) -> Walk:
        """Walk from the clean image towards the wrong class of this rank there."""
        toward = ranked_class(session, rank)
        if session.finished or (toward < 0).all():
            return walk  # there are fewer classes, or the attacker wants a single one
        walk.points, walk.radius, walk.length = session.clean, walk.distance, _sizes(session, walk)
        walk.toward = toward
        walk = follow_boundary(session, walk, 4 * self.steps, _GAMMA)
        walk.toward = None
        return walk


def _sizes(session: Session, walk: Walk) -> Tensor:
    """Return (n,) the L2 distance of the nearest success, 1 before the first one."""
    size = _EUCLIDEAN.distance(walk.nearest, session.clean)
    return torch.where(walk.distance.isfinite(), size, 1.0)
