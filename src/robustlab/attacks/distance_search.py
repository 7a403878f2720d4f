"""DistanceSearch: walks towards single classes, then short walks from points near the nearest success.

Our own: iterated local search (Lourenco, Martin & Stuetzle 2003) whose walks are those of FAB (Croce & Hein
2020, arXiv:1907.02044) and FMN (Pintor et al. 2021, arXiv:2102.12827). A single long walk ends at a local
minimum of the distance. A short one from a changed copy of the nearest success often ends at a nearer one.
Less budget should go to images that resist (arXiv:2203.05154).
"""

from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor

from robustlab.attacks.apgd import ranked_class
from robustlab.attacks.fab import FAB
from robustlab.attacks.fmn import follow_boundary
from robustlab.attacks.gradient_attack import GradientAttack
from robustlab.attacks.gradients import ExactGradient, Gradient
from robustlab.attacks.session import Session
from robustlab.attacks.walk import Walk
from robustlab.core.spec import register
from robustlab.threats import L2

_NEAR = ((0.5, 0.5), (1.0, 1.0), (2.0, 1.0))
"""The walks of a round: the L2 length of the noise on the nearest success, and that of the first step, as
multiples of the success's own L2 distance."""

_ETA = 1.2
"""How far FAB's steps go beyond the boundary; with its own 1.05 masked gradients hold it up."""

_GAMMA = 0.05
_EUCLIDEAN = L2(eps=1.0)


@register("distance_search")
class DistanceSearch(GradientAttack):
    """Walks to the nearest success, on the images whose nearest success comes close to eps.

    First come walks of FAB towards the ``aims`` most likely wrong classes. Each round then has three short
    walks of FMN, from the nearest success with noise of three lengths. The attack gives an image up if two
    conditions hold. The nearest success is farther than ``1 + keep`` times eps. And the last walk, or round,
    lowered its distance beyond eps by less than a tenth. ``keep`` shrinks by ``tighten`` in each round. The
    rule does not depend on other images. In ``max-loss`` mode no image is given up.

    Budget: for each of the ``aims`` ``survey`` gradients and twice as many forward passes, then up to
    ``rounds`` times ``3 * steps`` gradients, for those that are not given up.
    """

    norms = ("l2", "l1")
    minimum_norm = True

    survey: Annotated[int, Field(ge=1)] = 100
    """Steps towards each class."""
    aims: Annotated[int, Field(ge=1)] = 4
    """How many of the most likely wrong classes there are walks to."""
    rounds: Annotated[int, Field(ge=0)] = 20
    steps: Annotated[int, Field(ge=1)] = 10
    """Steps of a short walk."""
    keep: Annotated[float, Field(ge=0.0)] = 0.3
    """The share of eps beyond which an image may be given up."""
    tighten: Annotated[float, Field(gt=0.0, le=1.0)] = 0.8
    """The factor of ``keep`` in each round."""
    gradient: Gradient = ExactGradient()

    @property
    def passes(self) -> int:
        # The last point of a short walk takes a pass, too.
        return self.aims * 2 * self.survey + self.rounds * len(_NEAR) * (self.steps + 1)

    def search(self, session: Session) -> None:
        walk = Walk.start(session)
        before = torch.full_like(session.everyone, torch.inf, dtype=walk.distance.dtype)
        fab = FAB(steps=self.survey, eta=_ETA)
        for rank in range(self.aims):
            toward = ranked_class(session, rank)
            if session.finished or (toward < 0).all():
                break  # there are fewer classes, or the attacker wants a single one
            walk.points, walk.toward = session.clean, toward
            walk = fab.step_over_boundary(session, walk)
            walk = self._drop(session, walk, before, self.keep)
        walk.toward = None
        for turn in range(self.rounds):
            for place, (noise, length) in enumerate(_NEAR):
                if not session.finished:
                    walk = self._near(session, walk, len(_NEAR) * turn + place, noise, length)
            walk = self._drop(session, walk, before, self.keep * self.tighten**turn)

    def _drop(self, session: Session, walk: Walk, before: Tensor, keep: float) -> Walk:
        """Give up images whose distance beyond eps is large and did not shrink; update ``before`` (N,)."""
        beyond = walk.distance / session.eps - 1
        stuck = beyond > 0.9 * before[session.rows]
        before[session.rows] = beyond
        return session.unfinished(walk, done=stuck & (beyond > keep)) if session.early_stop else walk

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


def _sizes(session: Session, walk: Walk) -> Tensor:
    """Return (n,) the L2 distance of the nearest success, 1 before the first one."""
    size = _EUCLIDEAN.distance(walk.nearest, session.clean)
    return torch.where(walk.distance.isfinite(), size, 1.0)
