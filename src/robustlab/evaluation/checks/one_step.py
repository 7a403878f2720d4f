"""Is one step as good as many?"""

from robustlab.attacks import FGSM, PGD
from robustlab.evaluation.checks.base import Finding, Probe, graded
from robustlab.evaluation.checks.context import Context

MOST = 500
LIMIT = 0.005
"""Our choice; the sign itself is Athalye et al.'s (2018, arXiv:1802.00420)."""


class OneStep(Probe):
    """Counts the images that FGSM breaks and that PGD, or the whole evaluation, does not."""

    id = "one-step-beats-many"
    title = "Many steps break what one step breaks"
    expected = f"at most {LIMIT:.1%} of the images broken by FGSM, but not by PGD or not by the evaluation"
    meaning = (
        "Gradients mislead away from the image: small steps are led astray where one large step jumps "
        "across. Gradients are masked, or the step size is wrong."
    )

    def look(self, context: Context) -> Finding:
        block = context.right_images(MOST)
        single = context.attack(FGSM(), block)
        rows = single.successes.nonzero().squeeze(1)
        fallen = block.take(rows)
        missed = set()
        if len(rows):
            # Only what FGSM breaks is of interest, and on most classifiers that breaks fast.
            many = context.attack(PGD(steps=50), fallen)
            missed = set(fallen.ids[~many.successes].tolist())
        missed |= set(fallen.ids.tolist()) & context.found.survivors
        found = (
            f"FGSM broke {len(rows)} of {len(block)} images, {len(missed)} of which PGD or all attacks missed"
        )
        sampled = len(block) < len(context.found.right)
        grade = graded(len(missed), len(block), LIMIT, sampled=sampled)
        return Finding(grade=grade, found=found, n=len(block))
