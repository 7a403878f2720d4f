"""robustlab's own ensemble: what breaks most images for the fewest passes comes first."""

from robustlab.attacks import APGD, PGD, Attack, Square
from robustlab.core.spec import register
from robustlab.core.threat import ThreatModel
from robustlab.evaluation.ensembles.base import Ensemble, suited

_TARGETS = 9


@register("standard")
class Standard(Ensemble):
    """A few steps of PGD, then APGD, APGD towards each likely class, and Square on what withstands them."""

    def stages(self, threat: ThreatModel, classes: int) -> tuple[Attack, ...]:
        attacks = (
            PGD(steps=10),
            APGD(steps=100),
            APGD(steps=100, loss="margin", targets=min(_TARGETS, classes - 1)),
            Square(queries=5000),
        )
        return tuple(attack for attack in attacks if suited(attack, threat))
