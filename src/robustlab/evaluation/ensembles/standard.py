"""robustlab's own ensemble: what breaks most images for the fewest passes comes first."""

from robustlab.attacks import APGD, APGDL1, FAB, PGD, Attack, Focused, SigmaZero, Square
from robustlab.core.spec import register
from robustlab.core.threat import ThreatModel
from robustlab.evaluation.ensembles.base import Ensemble, suited

_TARGETS = 9


@register("standard")
class Standard(Ensemble):
    """Ten steps of PGD, then APGD, then the search that the norm asks for, on what withstands them.

    Within Linf that search is `Focused`, which stands in for AutoAttack's last three members at a fraction of
    their passes. Elsewhere it is APGD and FAB towards each likely class and Square, and sigma-zero for L0.
    """

    def stages(self, threat: ThreatModel, classes: int) -> tuple[Attack, ...]:
        targets = min(_TARGETS, classes - 1)
        first: tuple[Attack, ...] = (PGD(steps=10), APGD(steps=50))
        if threat.name == "linf":
            return (*first, Focused())
        attacks = (
            *first,
            APGDL1(steps=50),
            APGD(steps=100, loss="margin", targets=targets),
            APGDL1(steps=100, loss="margin", targets=targets),
            FAB(steps=100, targets=targets),
            SigmaZero(),
            Square(queries=5000),
        )
        return tuple(attack for attack in attacks if suited(attack, threat))
