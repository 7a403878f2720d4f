"""robustlab's own ensemble: attacks that break most images with the fewest passes come first."""

from dataclasses import replace
from typing import get_args

from robustlab.attacks import (
    APGD,
    APGDL1,
    PGD,
    Attack,
    Corruption,
    DistanceSearch,
    HopSkipJump,
    IfMasked,
    IfShattered,
    MarginSearch,
    RandomPoints,
    RayS,
    Restarts,
    RotationTranslation,
    SigmaZero,
    SparseRS,
    Square,
)
from robustlab.attacks.corruption import Effect
from robustlab.core.options import Effort
from robustlab.core.spec import register
from robustlab.evaluation.ensembles.autoattack import AutoAttack
from robustlab.evaluation.ensembles.base import Ensemble
from robustlab.threats import ThreatModel

_ROUNDS: dict[Effort, int] = {"quick": 4, "standard": 60, "thorough": 240}
"""Rounds of `MarginSearch`; those of `DistanceSearch` are a third of them."""


@register("standard")
class Standard(Ensemble):
    """Short gradient attacks, then a search for the norm, on the images that are left.

    For Linf the search is `MarginSearch`, for L2 and L1 `DistanceSearch`. They do the work of AutoAttack's
    targeted APGD, FAB and Square with a fraction of their passes. For L0 it is sigma-zero, and then
    Sparse-RS, which breaks more images also where gradients are not masked. Smoothed gradients and Square run
    only on images with masked gradients; on others they would cost most and find very little. Without a bound
    the ensemble is every corruption of MNIST-C, then the grid of rotations and translations.

    With another effort the list has the same attacks with fewer or more rounds and restarts, which begin with
    the same draws. So more effort finds at least what less effort finds. ``"thorough"`` gives no image up,
    and for L2 and L1 adds AutoAttack's list.

    On a black box random points come first, and then Square, or Sparse-RS for L0. If only labels are known,
    it is RayS for Linf and HopSkipJump for L2. For L1 and L0 by labels robustlab has no such search: many
    random points alone.
    """

    effort: Effort = "standard"
    """How long it searches."""

    def stages(self, threat: ThreatModel, classes: int) -> tuple[Attack, ...]:
        chosen = self._within(threat, classes) if threat.bounded else self._unbounded()
        return tuple(attack for attack in chosen if attack.supports(threat))

    def black_box_stages(self, threat: ThreatModel, classes: int, *, only_labels: bool) -> tuple[Attack, ...]:
        del classes
        if not threat.bounded:
            return self._unbounded()
        by_scores = (Square(queries=5000, rescale=True), SparseRS(queries=5000))
        by_labels = (RayS(queries=5000), HopSkipJump(steps=20))
        for search in by_labels if only_labels else by_scores:
            if search.supports(threat):
                return RandomPoints(count=20, draw="corners"), self._repeated(search)
        return (RandomPoints(count=1000),)

    def _within(self, threat: ThreatModel, classes: int) -> tuple[Attack, ...]:
        if threat.discrete:
            random = SparseRS(queries=5000)
            last = IfMasked(attack=random) if self.effort == "quick" else self._repeated(random)
            return PGD(steps=10), SigmaZero(), last
        blind = IfMasked(attack=self._repeated(Square(queries=5000, proposals=25)))
        dense = PGD(steps=10), APGD(steps=50)
        if threat.separable:
            # After `MarginSearch` 50 steps break as many images as 100; for L2 and L1 they break fewer.
            smoothed = IfShattered(attack=APGD(steps=50, loss="margin"))
            return *dense, self._margins(), smoothed, blind
        more = AutoAttack().stages(threat, classes) if self.effort == "thorough" else ()
        if not threat.sparse:
            smoothed = IfShattered(attack=APGD(loss="margin"))
            return *dense, self._distances(), smoothed, blind, *more
        smoothed = IfShattered(attack=APGDL1(loss="margin"))
        return APGDL1(steps=20), self._distances(), smoothed, blind, *more

    def _margins(self) -> Attack:
        search = MarginSearch(rounds=_ROUNDS[self.effort])
        return replace(search, keep=1.0, tighten=1.0) if self.effort == "thorough" else search

    def _distances(self) -> Attack:
        search = DistanceSearch(rounds=_ROUNDS[self.effort] // 3)
        # Beyond any distance: the first walks may end very far away.
        return replace(search, keep=1e9, tighten=1.0) if self.effort == "thorough" else search

    def _repeated(self, search: Attack) -> Attack:
        """Return a search without gradients with as many restarts as the effort says."""
        return Restarts(attack=search, times=4) if self.effort == "thorough" else search

    def _unbounded(self) -> tuple[Attack, ...]:
        return *(Corruption(effect=effect) for effect in get_args(Effect)), RotationTranslation()
