"""Is one step as good as many?"""

from dataclasses import replace

from robustlab.attacks import APGD, APGDL1, FGSM, Attack
from robustlab.core.spec import register
from robustlab.evaluation.checks.attack_runner import AttackRunner
from robustlab.evaluation.checks.base import ActiveCheck, CheckResult, graded
from robustlab.evaluation.checks.context import Context, Sample
from robustlab.evaluation.metrics import percent

MAX_IMAGES = 500
MANY: tuple[Attack, ...] = (APGD(steps=50), APGDL1(steps=50))
"""An attack with adaptive step lengths. PGD's fixed steps miss points just inside an L2 or L1 ball."""
LIMIT = 0.005
"""Our choice; the check itself is Athalye et al.'s (2018, arXiv:1802.00420)."""


@register("one_step_beats_many")
class OneStep(ActiveCheck):
    """Counts the images that FGSM breaks and that many steps, or the whole evaluation, do not."""

    skips_black_box = True
    by_distance = True
    doubts = "attacks"
    passes = 120
    title = "Many steps break what one step breaks"
    expected = (
        f"at most {percent(LIMIT)} of the images broken by FGSM, but not by 50 steps or not by the evaluation"
    )
    meaning = (
        "Gradients mislead away from the image: small steps are led astray where one large step jumps "
        "across. Gradients are masked, or the evaluation's attacks are too weak."
    )

    def sample(self, context: Context) -> Sample:
        sample = context.correct_images(MAX_IMAGES)
        return replace(sample, survivors=context.found.survivors & set(sample.images.ids.tolist()))

    def look(self, runner: AttackRunner, sample: Sample) -> CheckResult:
        block = sample.images
        fallen = block.take(runner.attack(FGSM(), block).successes.nonzero().squeeze(1))
        missed = set(fallen.ids.tolist()) & sample.survivors
        # Only images that FGSM breaks matter here, and most classifiers break fast.
        for attack in (attack for attack in MANY if attack.supports(runner.threat)):
            many = runner.attack(attack, fallen)
            missed |= set(fallen.ids[~many.successes].tolist())
        found = f"FGSM broke {len(fallen)} of {len(block)} images, {len(missed)} of them missed by the others"
        grade = graded(len(missed), len(block), LIMIT, sampled=len(block) < sample.drawn_from)
        return CheckResult(grade=grade, found=found, n=len(block))
