"""Do gradients exist where an attack begins, and do they say the same a hair's breadth away?"""

import torch
from torch import Tensor

from robustlab.attacks.agreement import AGREED, LOOKS, STD, compared
from robustlab.core import seeding
from robustlab.core.evaluation import Grade
from robustlab.evaluation.checks.base import Experiment, Finding, graded
from robustlab.evaluation.checks.context import Context, Sample, Skip
from robustlab.evaluation.checks.lab import Lab
from robustlab.evaluation.metrics import percent

MOST = 250
LIMIT = 0.05
SAME = 1e-4
"""Relative and absolute, between two answers to one question."""


def useless(gradients: Tensor) -> Tensor:
    """Return (N,) which gradients (N, C, H, W) are zero everywhere, or hold a NaN or an infinity."""
    flat = gradients.flatten(1)
    return (flat == 0).all(dim=1) | ~torch.isfinite(flat).all(dim=1)


class ZeroGradients(Experiment):
    """Computes gradients at a random point of the threat model, of two losses."""

    by_distance = True
    id = "zero-gradients"
    title = "There is a gradient to follow"
    expected = "for no image a gradient that is zero or not finite, of cross-entropy or of the margin"
    meaning = (
        "Without a gradient an attack stands still whatever the classifier's weaknesses: rounding, a "
        "step function, a detached part or saturation hides them (Athalye et al. 2018, "
        "arXiv:1802.00420)."
    )

    def sample(self, context: Context) -> Sample:
        return context.right_images(MOST)

    def look(self, lab: Lab, sample: Sample) -> Finding:
        block = sample.images
        key = seeding.derive(lab.seed, "checks", self.id)
        points = lab.threat.random_start(block.pixels(slice(None)), key, block.ids)
        cross_entropy = int(useless(lab.gradients(points, block.labels, "cross_entropy")).sum())
        margin = int(useless(lab.gradients(points, block.labels, "margin")).sum())
        found = (
            f"no gradient of cross-entropy at {cross_entropy} and of the margin at {margin} of {len(block)}"
        )
        # Where only the cross-entropy underflows, attacks by the margin still find their way.
        grade: Grade = graded(margin, len(block), 0.0, sampled=False)
        if grade == "pass" and cross_entropy:
            grade = "warn"
        return Finding(grade=grade, found=f"{found} images", n=len(block))


class ShatteredGradients(Experiment):
    """Compares gradients around the images with each other."""

    by_distance = True
    id = "shattered-gradients"
    title = "Gradients nearby agree"
    expected = f"a mean cosine of {AGREED:g} between gradients nearby, but for {percent(LIMIT)} of the images"
    meaning = (
        "A gradient that is another one a hair's breadth away does not say where a step leads (shattered "
        "gradients, Athalye et al. 2018, arXiv:1802.00420): attacks by gradients wander about."
    )

    def sample(self, context: Context) -> Sample:
        return context.right_images(MOST)

    def look(self, lab: Lab, sample: Sample) -> Finding:
        block = sample.images
        clean = block.pixels(slice(None))
        if not torch.allclose(lab.logits(clean), lab.logits(clean), rtol=SAME, atol=SAME, equal_nan=True):
            raise Skip("the classifier is random; its gradients differ by themselves")
        key = seeding.derive(lab.seed, "checks", self.id)

        def at(number: int) -> Tensor:
            noise = seeding.normal(seeding.derive(key, number), block.ids, tuple(clean.shape[1:]))
            return lab.gradients((clean + STD * noise).clamp(0, 1), block.labels, "margin")

        shattered = int(compared(map(at, range(LOOKS))).shattered.sum())
        return Finding(
            grade=graded(shattered, len(block), LIMIT, sampled=True),
            found=f"gradients of the margin nearby disagree at {shattered} of {len(block)} images",
            n=len(block),
        )
