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
    Focused,
    RotationTranslation,
    SigmaZero,
    Smoothed,
    Square,
    WhereMasked,
)
from robustlab.attacks.corruption import Effect
from robustlab.core.spec import register
from robustlab.core.threat import ThreatModel
from robustlab.evaluation.ensembles.autoattack import TARGETS, TARGETS_L1
from robustlab.evaluation.ensembles.base import Ensemble


@register("standard")
class Standard(Ensemble):
    """A quick descent, a longer one, then the search that the norm asks for, on what withstands them.

    Within Linf that search is `Focused`, which stands in for AutoAttack's last three members at a fraction of
    their passes. For L2 and L1 it is AutoAttack's own mix, after searches for the nearest success, which find
    for a few hundred passes an image some that the mix does not; for L0 sigma-zero. Smoothed gradients and
    Square are for the images on which gradients are masked: elsewhere they would cost most and find next to
    nothing. Without a bound it is every corruption of MNIST-C, then the grid of rotations and translations.
    """

    def stages(self, threat: ThreatModel, classes: int) -> tuple[Attack, ...]:
        targets = min(TARGETS, classes - 1)
        first: tuple[Attack, ...] = (PGD(steps=10), APGD(steps=50))
        blind = WhereMasked(attack=Square(queries=5000))
        blind_twice = WhereMasked(attack=Square(queries=5000, restarts=2))
        smoothed = Smoothed(attack=APGD(steps=100, loss="margin"))
        smoothed_l1 = Smoothed(attack=APGDL1(loss="margin"))
        nearest = FMN(steps=200)
        border = FAB(steps=100, targets=targets)
        towards = APGD(steps=100, loss="margin", targets=targets)
        towards_l1 = APGDL1(loss="margin", targets=min(TARGETS_L1, targets))
        by_norm: dict[str, tuple[Attack, ...]] = {
            "linf": (*first, Focused(), smoothed, blind),
            "l2": (*first, smoothed, blind_twice, nearest, DDN(steps=200), border, APGD(restarts=5), towards),
            "l1": (
                APGDL1(steps=50),
                smoothed_l1,
                blind_twice,
                nearest,
                APGDL1(restarts=5),
                towards_l1,
                border,
            ),
            "l0": (PGD(steps=10), SigmaZero()),
            "unbounded": (*(Corruption(effect=effect) for effect in get_args(Effect)), RotationTranslation()),
        }
        return tuple(attack for attack in by_norm.get(threat.name, first) if attack.suits(threat))
