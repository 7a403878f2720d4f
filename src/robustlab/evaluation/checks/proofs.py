"""Do proofs hold?"""

import torch

from robustlab.attacks import PGD, RandomPoints
from robustlab.evaluation.checks.base import Experiment, Finding
from robustlab.evaluation.checks.context import Context, Sample
from robustlab.evaluation.checks.lab import Lab

MOST = 64
ATTACKS = (
    PGD(steps=20),
    PGD(steps=20, loss="margin"),
    RandomPoints(count=50),
    RandomPoints(count=50, draw="corners"),
)


class Proofs(Experiment):
    """Attacks images that are proven to withstand every attack."""

    id = "proofs-under-attack"
    doubts = "evaluation"
    title = "No attack breaks a proven image"
    expected = "none of the proven images broken"
    meaning = "The certifier is unsound: no certified figure of it can be believed."

    def sample(self, context: Context) -> Sample:
        return context.proven_images(MOST)

    def look(self, lab: Lab, sample: Sample) -> Finding:
        block = sample.images
        broken = torch.zeros_like(block.labels, dtype=torch.bool)
        for attack in ATTACKS:
            broken |= lab.attack(attack, block).successes
        count = int(broken.sum())
        found = f"{len(ATTACKS)} attacks broke {count} of {len(block)} proven images"
        return Finding(grade="fail" if count else "pass", found=found, n=len(block))
