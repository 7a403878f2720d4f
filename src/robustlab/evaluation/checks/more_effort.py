"""Was the search long enough? More steps, restarts and targets, on the images that withstood it."""

from robustlab.attacks import APGD, PGD, Attack, AttackResult
from robustlab.evaluation.checks.base import percent
from robustlab.evaluation.checks.challenge import Challenge
from robustlab.evaluation.checks.context import Context

STEPS, RESTARTS, TARGETS = 200, 20, 9
LIMIT = 0.005
"""Our choice. For scale: from 1 to 50 restarts of PGD, Madry et al.'s network for MNIST lost 2.9 %."""
TARGETED_LIMIT = 0.01
"""Our choice."""


class MoreSteps(Challenge):
    """Twice the usual hundred steps of PGD."""

    id = "more-steps"
    title = "More steps find no more"
    expected = f"{STEPS} steps of PGD lower robust accuracy by at most {percent(LIMIT)}"
    meaning = "The search had not converged: robust accuracy goes on falling with the number of steps."
    most, limit = 30, LIMIT

    def attack(self, context: Context) -> Attack:
        del context
        return PGD(steps=STEPS, step=0.05)


class MoreRestarts(Challenge):
    """Twenty short descents from random starts."""

    id = "more-restarts"
    title = "More restarts find no more"
    expected = f"{RESTARTS} restarts of PGD lower robust accuracy by at most {percent(LIMIT)}"
    meaning = (
        "The search ends in many local optima: robust accuracy goes on falling with the number of starts."
    )
    most, limit = 30, LIMIT

    def attack(self, context: Context) -> Attack:
        del context
        return PGD(steps=20, restarts=RESTARTS)

    def remark(self, context: Context, result: AttackResult) -> str:
        del context
        late = int((result.successes & (result.restarts >= RESTARTS // 2)).sum())
        return f"; {late} of them only in the second half of the restarts" if late else ""


class Targets(Challenge):
    """APGD towards each likely class by itself."""

    id = "targeted-attack"
    title = "Aiming at each class finds no more"
    expected = (
        f"APGD towards each class, by the margin, lowers robust accuracy by at most {percent(TARGETED_LIMIT)}"
    )
    meaning = (
        "Attacks that only lead away from the label miss what attacks towards a class find: their loss "
        "hides it (gradient masking by the scale of the logits, for instance)."
    )
    most, limit = 40, TARGETED_LIMIT

    def attack(self, context: Context) -> Attack:
        return APGD(steps=20, loss="margin", targets=min(TARGETS, context.classes - 1))
