"""Was the search long enough? More steps, restarts and targets, on the images that withstood it."""

from collections.abc import Sequence

import torch
from torch import Tensor

from robustlab.attacks import APGD, APGDL1, PGD, Attack, AttackResult, SigmaZero
from robustlab.core.spec import register
from robustlab.data import Split
from robustlab.evaluation.checks.attack_runner import AttackRunner
from robustlab.evaluation.checks.survivors import SurvivorCheck
from robustlab.evaluation.metrics import percent

STEPS, RESTARTS, TARGETS = 200, 10, 5
LIMIT = 0.005
"""Our choice. For comparison: from 1 to 50 restarts of PGD, Madry et al.'s network for MNIST lost 2.9 %."""
TARGETED_LIMIT = 0.01
"""Our choice."""


@register("more_steps")
class MoreSteps(SurvivorCheck):
    """More and shorter steps of PGD than the usual hundred."""

    skips_black_box = True
    passes = 410
    title = "More steps find no more"
    expected = f"{STEPS} steps of PGD lower robust accuracy by at most {percent(LIMIT)}"
    meaning = "The search had not converged: robust accuracy goes on falling with the number of steps."
    most, limit = 30, LIMIT

    def attack(self, runner: AttackRunner) -> Attack:
        del runner
        return PGD(steps=STEPS, rel_step_size=0.05)


@register("more_restarts")
class MoreRestarts(SurvivorCheck):
    """Short gradient attacks from random starts."""

    skips_black_box = True
    passes = 420
    title = "More restarts find no more"
    expected = f"{RESTARTS} restarts of PGD lower robust accuracy by at most {percent(LIMIT)}"
    meaning = (
        "The search ends in many local optima: robust accuracy goes on falling with the number of starts."
    )
    most, limit = 30, LIMIT

    def attack(self, runner: AttackRunner) -> Attack:
        del runner
        return PGD(steps=20, restarts=RESTARTS)

    def remark(self, result: AttackResult) -> str:
        late = int((result.successes & (result.restarts >= RESTARTS // 2)).sum())
        return f"; {late} of them only in the second half of the restarts" if late else ""


@register("targeted_attack")
class Targets(SurvivorCheck):
    """An attack towards each of the most likely wrong classes, chosen for the norm."""

    skips_black_box = True
    passes = 320
    title = "Aiming at single classes finds no more"
    expected = (
        f"descents towards the {TARGETS} likeliest wrong classes, by the margin, lower robust accuracy by at "
        f"most {percent(TARGETED_LIMIT)}"
    )
    meaning = (
        "Attacks that only lead away from the label miss what attacks towards a class find: their loss "
        "hides it (gradient masking by the scale of the logits, for instance)."
    )
    most, limit = 40, TARGETED_LIMIT

    def attack(self, runner: AttackRunner) -> Attack:
        if runner.threat.discrete:
            return SigmaZero(steps=30)
        descent = APGDL1 if runner.threat.sparse else APGD
        return descent(steps=20, loss="margin", targets=_targets(runner))

    def goals(self, runner: AttackRunner, images: Split) -> Sequence[Tensor | None]:
        if not runner.threat.discrete:
            return [None]  # the attack itself tries each class
        logits = runner.logits(images.pixels(slice(None)))
        wrong = logits.scatter(1, images.labels[:, None], -torch.inf)
        return wrong.topk(_targets(runner), dim=1).indices.unbind(dim=1)


def _targets(runner: AttackRunner) -> int:
    return min(TARGETS, runner.classes - 1)
