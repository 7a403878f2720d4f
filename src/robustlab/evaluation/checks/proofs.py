"""Are the proofs correct?"""

import torch

from robustlab.attacks import PGD, RandomPoints
from robustlab.core.spec import register
from robustlab.evaluation.checks.attack_runner import AttackRunner
from robustlab.evaluation.checks.base import ActiveCheck, CheckResult
from robustlab.evaluation.checks.context import Context, Sample

MAX_IMAGES = 64
ATTACKS = (
    PGD(steps=20),
    PGD(steps=20, loss="margin"),
    RandomPoints(count=50),
    RandomPoints(count=50, draw="corners"),
)


@register("proofs_under_attack")
class Proofs(ActiveCheck):
    """Attacks images that are proven to withstand every attack."""

    passes = 200
    title = "No attack breaks a proven image"
    expected = "none of the proven images broken"
    meaning = "The certifier is unsound: no certified figure of it can be believed."

    def sample(self, context: Context) -> Sample:
        return context.certified_images(MAX_IMAGES)

    def look(self, runner: AttackRunner, sample: Sample) -> CheckResult:
        block = sample.images
        broken = torch.zeros_like(block.labels, dtype=torch.bool)
        for attack in ATTACKS:
            broken |= runner.attack(attack, block).successes
        count = int(broken.sum())
        found = f"{len(ATTACKS)} attacks broke {count} of {len(block)} proven images"
        return CheckResult(grade="fail" if count else "pass", found=found, n=len(block))
