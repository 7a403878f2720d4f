"""AutoAttack (Croce & Hein 2020, arXiv:2003.01690; L1: arXiv:2103.01208): its members, order and budgets."""

from typing import Literal

from robustlab.attacks import APGD, APGDL1, FAB, Attack, Square
from robustlab.core.spec import register
from robustlab.core.threat import ThreatModel
from robustlab.evaluation.ensembles.base import Ensemble

TARGETS, TARGETS_L1 = 9, 5
"""How many classes targeted attacks move towards, and how many within L1."""


@register("autoattack")
class AutoAttack(Ensemble):
    """The field's standard ensemble: APGD, targeted APGD, targeted FAB, Square."""

    version: Literal["standard", "plus", "rand"] = "standard"
    """``plus`` adds restarts and the DLR loss; ``rand`` is for classifiers that draw random numbers."""

    def stages(self, threat: ThreatModel, classes: int) -> tuple[Attack, ...]:
        l1 = threat.name == "l1"
        targets = min(TARGETS, classes - 1)
        if l1:
            ascent: Attack = APGDL1(restarts=5)
            targeted: Attack = APGDL1(loss="dlr", targets=min(TARGETS_L1, targets))
        else:
            ascent = APGD(restarts=5 if self.version == "plus" else 1)
            targeted = APGD(loss="dlr", targets=targets)
        border, square = FAB(steps=100, targets=targets), Square(queries=5000)
        scaled = APGDL1(loss="dlr", restarts=5) if l1 else APGD(steps=100, loss="dlr", restarts=5)
        anywhere = FAB(steps=100, targets=0, restarts=5)
        chosen: dict[str, list[Attack]] = {
            "standard": [ascent, targeted, border, square],
            "plus": [ascent, scaled, anywhere, square, targeted, border],
            "rand": [APGD(steps=100), APGD(loss="dlr"), APGDL1(steps=100), APGDL1(loss="dlr")],
        }
        return tuple(attack for attack in chosen[self.version] if attack.suits(threat))

    @property
    def samples(self) -> int:
        return 20 if self.version == "rand" else 1
