"""robustlab's own ensemble: what breaks most images for the fewest passes comes first."""

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
    IfMasked,
    IfShattered,
    MarginSearch,
    RotationTranslation,
    SigmaZero,
    Square,
)
from robustlab.attacks.corruption import Effect
from robustlab.core.spec import register
from robustlab.evaluation.ensembles.autoattack import TARGETS, TARGETS_L1
from robustlab.evaluation.ensembles.base import Ensemble
from robustlab.threats import ThreatModel


@register("standard")
class Standard(Ensemble):
    """A quick descent, a longer one, then the search that the norm asks for, on what withstands them.

    Within Linf that search is `MarginSearch`, which replaces AutoAttack's last three members at a
    fraction of their passes. For L2 and L1 it is AutoAttack's own mix, after searches for the nearest
    success, which find for a few hundred passes an image some that the mix does not; for L0 sigma-zero.
    Smoothed gradients and Square are for the images on which gradients are masked: elsewhere they would cost
    most and find next to nothing. Without a bound it is every corruption of MNIST-C, then the grid of
    rotations and translations.
    """

    def stages(self, threat: ThreatModel, classes: int) -> tuple[Attack, ...]:
        targets = min(TARGETS, classes - 1)
        chosen = self._unbounded() if not threat.bounded else self._within(threat, targets)
        return tuple(attack for attack in chosen if attack.supports(threat))

    def _within(self, threat: ThreatModel, targets: int) -> tuple[Attack, ...]:
        blind, blind_twice = (IfMasked(attack=Square(queries=5000, restarts=count)) for count in (1, 2))
        if threat.discrete:
            return PGD(steps=10), SigmaZero()
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
