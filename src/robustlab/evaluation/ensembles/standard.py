"""robustlab's own ensemble: attacks that break most images with the fewest passes come first."""

from typing import get_args

from robustlab.attacks import (
    APGD,
    APGDL1,
    DDN,
    FAB,
    FMN,
    PGD,
    Attack,
    Corruption,
    HopSkipJump,
    IfMasked,
    IfShattered,
    MarginSearch,
    RandomPoints,
    RayS,
    RotationTranslation,
    SigmaZero,
    SparseRS,
    Square,
)
from robustlab.attacks.corruption import Effect
from robustlab.core.spec import register
from robustlab.evaluation.ensembles.autoattack import TARGETS, TARGETS_L1
from robustlab.evaluation.ensembles.base import Ensemble
from robustlab.threats import ThreatModel


@register("standard")
class Standard(Ensemble):
    """A short gradient attack, a longer one, then an attack for the norm, on the images that are left.

    For Linf the last attack is `MarginSearch`, which replaces AutoAttack's last three members with a fraction
    of their passes. For L2 and L1 the last attacks are AutoAttack's, after searches for the nearest success.
    These take a few hundred passes an image, and find some successes that AutoAttack does not. For L0 it is
    sigma-zero, and then Sparse-RS, which breaks more images also where gradients are not masked. Smoothed
    gradients and Square run only on images with masked gradients; on others they would cost most and find
    very little. Without a bound the ensemble is every corruption of MNIST-C, then the grid of rotations and
    translations.

    On a black box random points come first, and then Square, or Sparse-RS for L0. If only labels are known,
    it is RayS for Linf and HopSkipJump for L2. For L1 and L0 by labels robustlab has no such search: many
    random points alone.
    """

    def stages(self, threat: ThreatModel, classes: int) -> tuple[Attack, ...]:
        targets = min(TARGETS, classes - 1)
        chosen = self._unbounded() if not threat.bounded else self._within(threat, targets)
        return tuple(attack for attack in chosen if attack.supports(threat))

    def black_box_stages(self, threat: ThreatModel, classes: int, *, only_labels: bool) -> tuple[Attack, ...]:
        del classes
        if not threat.bounded:
            return self._unbounded()
        by_scores = (Square(queries=5000, rescale=True), SparseRS(queries=5000))
        by_labels = (RayS(queries=5000), HopSkipJump(steps=20))
        for search in by_labels if only_labels else by_scores:
            if search.supports(threat):
                return RandomPoints(count=20, draw="corners"), search
        return (RandomPoints(count=1000),)

    def _within(self, threat: ThreatModel, targets: int) -> tuple[Attack, ...]:
        blind, blind_twice = (IfMasked(attack=Square(queries=5000, restarts=count)) for count in (1, 2))
        if threat.discrete:
            return PGD(steps=10), SigmaZero(), SparseRS(queries=5000)
        if threat.sparse:
            few = min(TARGETS_L1, targets)
            return (
                APGDL1(steps=50),
                IfShattered(attack=APGDL1(loss="margin")),
                blind_twice,
                FMN(steps=200),
                APGDL1(restarts=5),
                APGDL1(loss="margin", targets=few),
                FAB(steps=100, targets=targets),
            )
        descents, smoothed = (
            (PGD(steps=10), APGD(steps=50)),
            IfShattered(attack=APGD(steps=100, loss="margin")),
        )
        if threat.separable:
            return *descents, MarginSearch(), smoothed, blind
        return (
            *descents,
            smoothed,
            blind_twice,
            FMN(steps=200),
            DDN(steps=200),
            FAB(steps=100, targets=targets),
            APGD(restarts=5),
            APGD(steps=100, loss="margin", targets=targets),
        )

    def _unbounded(self) -> tuple[Attack, ...]:
        return *(Corruption(effect=effect) for effect in get_args(Effect)), RotationTranslation()
