"""Does an attack that sees only classes find nearer adversarial images than gradients do?"""

from robustlab.attacks import APGD, HopSkipJump
from robustlab.core.spec import register
from robustlab.evaluation.checks.attack_runner import AttackRunner, NotApplicable
from robustlab.evaluation.checks.base import ActiveCheck, CheckResult, graded
from robustlab.evaluation.checks.context import Context, Sample

MAX_IMAGES = 10
DECISION_BASED = HopSkipJump(steps=8, samples=40)
WHITE_BOX = APGD(steps=100, loss="margin")
MAX_MISSED = 0.5
"""Above a share of one half, the median distance of the decision-based attack is the smaller one."""


@register("decision_based_attack")
class Decisions(ActiveCheck):
    """Runs a gradient attack, for each image, within the distance that HopSkipJump needed."""

    skips_black_box = True
    by_distance = True
    doubts = "attacks"
    passes = 1000
    title = "Gradients come as near as decisions alone"
    expected = "APGD breaks at least half of the images at the distance that HopSkipJump needed for each"
    meaning = (
        "An attack that sees only which class wins comes nearer than one that sees all: gradients are "
        "masked (Brendel et al. 2018, arXiv:1712.04248)."
    )

    def sample(self, context: Context) -> Sample:
        return context.correct_images(MAX_IMAGES)

    def look(self, runner: AttackRunner, sample: Sample) -> CheckResult:
        if not DECISION_BASED.supports(runner.threat):
            raise NotApplicable(f"robustlab has no attack by decisions alone for {runner.threat.inner.name}")
        wide = runner.threat.at(runner.widest(sample.images))
        blind = runner.attack(DECISION_BASED, sample.images, threat=wide, early_stop=False)
        rows = blind.successes.nonzero().squeeze(1)
        if len(rows) == 0:
            raise NotApplicable("HopSkipJump found no misclassified image to start from")
        distances = blind.distances[rows]
        seeing = runner.attack(WHITE_BOX, sample.images.take(rows), threat=wide, eps=distances)
        n, missed = len(rows), int((~seeing.successes).sum())
        found = (
            f"APGD broke {n - missed} of {n} images at the distances that HopSkipJump needed, "
            f"a median of {float(distances.median()):.3g}"
        )
        grade = graded(missed, n, MAX_MISSED, sampled=n < sample.drawn_from)
        return CheckResult(grade=grade, found=found, n=n)
