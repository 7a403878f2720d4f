"""Are the classifier's outputs logits that losses can work with?"""

from robustlab.core.evaluation import Grade
from robustlab.evaluation.checks.base import Experiment, Finding, Review
from robustlab.evaluation.checks.context import Context, Sample
from robustlab.evaluation.checks.lab import Lab
from robustlab.evaluation.metrics import percent

MOST = 250
SUMS_TO_ONE = 1e-5
"""As in AutoAttack's check (Croce & Hein 2020, arXiv:2003.01690)."""
LARGEST_GAP = 87.0
"""Farther apart, logits have no gradient of cross-entropy: float32's least normal number is exp(-87.3)."""


class Softmax(Experiment):
    """Looks whether the outputs are probabilities."""

    id = "softmax-output"
    doubts = "attacks"
    title = "The outputs are logits, not probabilities"
    expected = f"outputs outside [0, 1], or that do not sum to 1 within {SUMS_TO_ONE:g}"
    meaning = (
        "The classifier ends in a softmax: a loss takes the softmax of a softmax, whose gradient is "
        "tiny just where the classifier is sure of itself. Evaluate it without its last layer."
    )

    def sample(self, context: Context) -> Sample:
        return context.any_images(MOST)

    def look(self, lab: Lab, sample: Sample) -> Finding:
        block = sample.images
        logits = lab.logits(block.pixels(slice(None)))
        low, high = float(logits.min()), float(logits.max())
        off = float((logits.sum(dim=1) - 1).abs().max())
        found = f"outputs from {low:.3g} to {high:.3g}, sums up to {off:.2g} away from 1"
        softmax = low >= 0 and high <= 1 and off <= SUMS_TO_ONE
        return Finding(grade="fail" if softmax else "pass", found=found, n=len(block))


class LogitScale(Experiment):
    """Looks how far the logits lie apart."""

    id = "logit-scale"
    doubts = "attacks"
    title = "The logits are not too far apart"
    expected = f"the highest logit at most {LARGEST_GAP:g} above the next"
    meaning = (
        "The other classes' probabilities underflow, and with them the gradient of the cross-entropy: "
        "attacks by this loss stand still. Losses on the logits themselves (margin, DLR) still work."
    )

    def sample(self, context: Context) -> Sample:
        return context.any_images(MOST)

    def look(self, lab: Lab, sample: Sample) -> Finding:
        block = sample.images
        top = lab.logits(block.pixels(slice(None))).topk(2, dim=1).values
        gap = (top[:, 0] - top[:, 1]).nan_to_num(0.0, 0.0, 0.0)
        over = int((gap > LARGEST_GAP).sum())
        found = f"a median of {float(gap.median()):.3g} and at most {float(gap.max()):.3g}"
        if over:
            found += f"; above {LARGEST_GAP:g} on {percent(over / len(block))} of the images"
        return Finding(grade="warn" if over else "pass", found=found, n=len(block))


class Finite(Review):
    """Counts the answers that are none; the evaluation has met them all."""

    id = "finite-outputs"
    doubts = "evaluation"
    title = "Every answer is finite"
    expected = "no NaN and no infinity"
    meaning = (
        "The classifier divides by zero or overflows. There is no gradient there, so the search stops; "
        "such an image counts as not robust, which may be too hard, and others may be out of the "
        "attacks' reach."
    )

    def look(self, context: Context) -> Finding:
        clean, near = context.found.no_answer, context.found.no_answer_near - context.found.no_answer
        found = f"no finite answer at {len(clean)} images, and next to {len(near)} more"
        grade: Grade = "fail" if clean else "warn" if near else "pass"
        return Finding(grade=grade, found=found, n=len(context.images))
