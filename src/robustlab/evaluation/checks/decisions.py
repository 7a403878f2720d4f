"""Does an attack that sees nothing but classes come nearer than gradients?"""

from robustlab.attacks import APGD, HopSkipJump
from robustlab.evaluation.checks.base import Finding, Probe
from robustlab.evaluation.checks.context import Context, Skip
from robustlab.evaluation.ensembles import suited

MOST = 10
BLIND = HopSkipJump(steps=8, samples=40)
SEEING = APGD(steps=100, loss="margin")
HALF = 0.5
"""More than half of the images: the blind attack's median distance is then the smaller one."""


class Decisions(Probe):
    """Gives gradients, for each image, the distance that HopSkipJump needed."""

    id = "decision-based-attack"
    title = "Gradients come as near as decisions alone"
    expected = "APGD breaks at least half of the images at the distance that HopSkipJump needed for each"
    meaning = (
        "An attack that sees only which class wins comes nearer than one that sees all: gradients are "
        "masked (Brendel et al. 2018, arXiv:1712.04248)."
    )

    def look(self, context: Context) -> Finding:
        if not suited(BLIND, context.threat):
            raise Skip(f"HopSkipJump is not made for {context.threat.name}")
        wide = context.at(context.widest)
        block = context.right_images(MOST)
        blind = context.attack(BLIND, block, threat=wide, mode="max-loss")
        rows = blind.successes.nonzero().squeeze(1)
        if len(rows) == 0:
            raise Skip("HopSkipJump found no misclassified image to start from")
        reached, distances = block.take(rows), blind.distances[rows]
        seeing = context.attack(SEEING, reached, threat=wide, eps=distances)
        n, missed = len(rows), int((~seeing.successes).sum())
        found = (
            f"APGD broke {n - missed} of {n} images at the distances that HopSkipJump needed, "
            f"a median of {float(distances.median()):.3g}"
        )
        return Finding(grade="fail" if missed > HALF * n else "pass", found=found, n=n)
