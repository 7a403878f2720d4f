"""Are the classifier's outputs suitable logits for the losses?"""

from robustlab.core.logits import answered, finite
from robustlab.core.spec import register
from robustlab.evaluation.checks.attack_runner import AttackRunner, NotApplicable
from robustlab.evaluation.checks.base import ActiveCheck, CheckResult, PassiveCheck
from robustlab.evaluation.checks.context import Context, Sample
from robustlab.evaluation.metrics import percent
from robustlab.runs.evaluation import Grade

MAX_IMAGES = 250
SUMS_TO_ONE = 1e-5
"""As in AutoAttack's check (Croce & Hein 2020, arXiv:2003.01690)."""
FLAT_BELOW, FLAT_SHARE = 0.01, 0.5
"""The distance from 0 or 1 below which a sigmoid has lost 96 % of its gradient; and the share of such values
at which the check fails. Our choice."""
LARGEST_GAP = 87.0
"""The largest difference of logits with a gradient of cross-entropy: float32's least normal number is
exp(-87.3)."""


@register("softmax_output")
class Softmax(ActiveCheck):
    """Checks whether the outputs are probabilities, and of which kind."""

    skips_black_box = True
    cheap = True
    doubts = "attacks"
    passes = 1
    title = "The outputs are logits, not probabilities"
    expected = "outputs outside [0, 1]"
    meaning = (
        "The classifier ends in a softmax or a sigmoid: a loss takes the softmax of that, whose gradient is "
        "tiny just where the classifier is sure of itself. Evaluate it without its last layer."
    )

    def sample(self, context: Context) -> Sample:
        return context.any_images(MAX_IMAGES)

    def look(self, runner: AttackRunner, sample: Sample) -> CheckResult:
        block = sample.images
        outputs = runner.logits(block.pixels(slice(None)))
        outputs = outputs[answered(outputs)]
        if len(outputs) == 0:
            raise NotApplicable("the classifier answers none of the images; see finite-outputs")
        low, high = float(outputs.min()), float(outputs.max())
        off = float((outputs.sum(dim=1) - 1).abs().max())
        grade: Grade = "pass"
        found = f"outputs from {low:.3g} to {high:.3g}, sums up to {off:.2g} away from 1"
        if low >= 0 and high <= 1:
            flat = ((outputs < FLAT_BELOW) | (outputs > 1 - FLAT_BELOW)).double().mean().item()
            softmax = off <= SUMS_TO_ONE
            kind = "a softmax" if softmax else "a sigmoid for each class (as trained with BCELoss)"
            found += f"; they look like {kind}, flat at {percent(flat)} of the outputs"
            # Scores that lie in [0, 1] by chance have a gradient.
            grade = "fail" if softmax or flat > FLAT_SHARE else "warn"
        return CheckResult(grade=grade, found=found, n=len(outputs))


@register("logit_scale")
class LogitScale(ActiveCheck):
    """Measures the differences of the logits."""

    skips_black_box = True
    cheap = True
    doubts = "attacks"
    passes = 1
    title = "The logits are not too far apart"
    expected = f"the highest logit at most {LARGEST_GAP:g} above the next"
    meaning = (
        "The other classes' probabilities underflow, and with them the gradient of the cross-entropy: "
        "attacks by this loss stand still. Losses on the logits themselves (margin, DLR) still work."
    )

    def sample(self, context: Context) -> Sample:
        return context.any_images(MAX_IMAGES)

    def look(self, runner: AttackRunner, sample: Sample) -> CheckResult:
        block = sample.images
        top = finite(runner.logits(block.pixels(slice(None))))[0].topk(2, dim=1).values
        gap = top[:, 0] - top[:, 1]
        over = int((gap > LARGEST_GAP).sum())
        found = f"a median of {float(gap.median()):.3g} and at most {float(gap.max()):.3g}"
        if over:
            found += f"; above {LARGEST_GAP:g} on {percent(over / len(block))} of the images"
        return CheckResult(grade="warn" if over else "pass", found=found, n=len(block))


@register("finite_outputs")
class Finite(PassiveCheck):
    """Counts the invalid answers among those of the evaluation."""

    title = "Every image has an answer"
    expected = "no NaN, no plus infinity, and not minus infinity for all classes"
    meaning = (
        "The classifier divides by zero or overflows. There is no gradient there, so the search stops; "
        "such an image counts as not robust, which may be too hard, and others may be out of the "
        "attacks' reach."
    )

    def look(self, context: Context) -> CheckResult:
        clean, near = context.found.no_answer, context.found.no_answer_near - context.found.no_answer
        found = f"no answer at {len(clean)} images, and next to {len(near)} more"
        grade: Grade = "fail" if clean else "warn" if near else "pass"
        return CheckResult(grade=grade, found=found, n=len(context.images))
