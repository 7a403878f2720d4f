"""AutoAttack (Croce & Hein 2020, arXiv:2003.01690; L1: arXiv:2103.01208): its members, order and budgets."""

from typing import Literal

from robustlab.attacks import APGD, APGDL1, FAB, Attack, Square
from robustlab.attacks.losses import Loss
from robustlab.core.spec import register
from robustlab.evaluation.ensembles.base import Ensemble
from robustlab.threats import ThreatModel

TARGETS, TARGETS_L1 = 9, 5
"""The number of target classes, and that of APGD in the standard version for L1."""

_QUERIES = 5001
"""The queries of Square, including the one at the random start, which the original does not count."""


@register("autoattack")
class AutoAttack(Ensemble):
    """The field's standard ensemble: APGD, targeted APGD, targeted FAB, Square.

    Members and budgets are those of the authors' code, which has special settings for L1 only in the standard
    version. With fewer classes than it assumes there are fewer targets, and the margin replaces a DLR loss
    that lacks classes. Where the code differs from the papers or wastes its budget, the attacks here do not
    copy it. At its first check APGD compares the first step with the start, not with 0. APGD for L1 does not
    move pixels that are at their limit. Square draws for each image separately, reaches the last row and
    column, and repeats a draw that would change nothing. For a random classifier the mean answer counts, not
    a single one.
    """

    version: Literal["standard", "plus", "rand"] = "standard"
    """``plus`` adds restarts and the DLR loss; ``rand`` is for classifiers that draw random numbers."""

    def stages(self, threat: ThreatModel, classes: int) -> tuple[Attack, ...]:
        targets = min(TARGETS, classes - 1)
        dense = APGD().supports(threat)
        tuned = not dense and self.version == "standard"
        restarts = 5 if tuned or self.version == "plus" else 1

        def apgd(loss: Loss, *, targets: int = 0, restarts: int = 1) -> Attack:
            if dense:
                return APGD(loss=loss, targets=targets, restarts=restarts)
            return APGDL1(loss=loss, targets=targets, restarts=restarts, large_radii=tuned)

        ascent, scaled = (apgd(loss, restarts=restarts) for loss in ("cross_entropy", "dlr"))
        targeted = apgd("dlr", targets=min(TARGETS_L1, targets) if tuned else targets)
        border, anywhere = FAB(targets=targets), FAB(targets=0, restarts=5)
        square = Square(queries=_QUERIES)
        chosen: dict[str, list[Attack]] = {
            "standard": [ascent, targeted, border, square],
            "plus": [ascent, scaled, anywhere, square, targeted, border],
            "rand": [ascent, scaled],
        }
        return tuple(attack for attack in chosen[self.version] if attack.supports(threat))

    @property
    def eot_samples(self) -> int:
        return 20 if self.version == "rand" else 1
