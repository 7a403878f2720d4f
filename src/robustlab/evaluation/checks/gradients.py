"""Do gradients exist at the start of an attack, and are they useful?"""

import torch
from torch import Tensor

from robustlab.attacks import PGD, Attack, IfShattered
from robustlab.attacks.gradient_agreement import AGREED, LOOKS, compared
from robustlab.attacks.gradients.smoothed import STD
from robustlab.attacks.losses import measure
from robustlab.core import seeding
from robustlab.core.spec import register
from robustlab.data import Split
from robustlab.evaluation.checks.attack_runner import AttackRunner, NotApplicable
from robustlab.evaluation.checks.base import ActiveCheck, CheckResult, graded
from robustlab.evaluation.checks.context import Context, Sample
from robustlab.evaluation.metrics import percent
from robustlab.runs.evaluation import Grade

MAX_IMAGES = 250
LIMIT = 0.05
STEP_RATIO = 2.0
"""How much more mean gradients must raise the margin than gradients themselves; our choice. If gradients
work, the ratio is lower for at least nine images in ten. Behind a sine of fifty periods it is higher for most
images (LOG.md, "Disagreeing gradients are not always shattered")."""
STEPPED_IMAGES = 30
DESCENTS = (PGD(steps=10, rel_step_size=0.2, loss="margin"), PGD(steps=10, rel_step_size=0.13, loss="margin"))
"""Two step lengths, since steps of exactly whole periods of an oscillation would not notice it."""
TOLERANCE = 1e-4
"""Relative and absolute tolerance between two answers to the same input."""


def useless(gradients: Tensor) -> Tensor:
    """Return (N,) which gradients (N, C, H, W) are zero everywhere, or contain NaN or infinity."""
    flat = gradients.flatten(1)
    return (flat == 0).all(dim=1) | ~torch.isfinite(flat).all(dim=1)


@register("zero_gradients")
class ZeroGradients(ActiveCheck):
    """Computes gradients at a random point of the threat model, of two losses."""

    skips_black_box = True
    by_distance = True
    cheap = True
    doubts = "attacks"
    passes = 4
    title = "There is a gradient to follow"
    expected = "for no image a gradient that is zero or not finite, of cross-entropy or of the margin"
    meaning = (
        "Without a gradient an attack stands still, even if the classifier is weak: rounding, a step "
        "function, a detached part or saturation hides the weakness (Athalye et al. 2018, "
        "arXiv:1802.00420). Give this part the gradient of a stand-in (BPDA)."
    )

    def sample(self, context: Context) -> Sample:
        return context.correct_images(MAX_IMAGES)

    def look(self, runner: AttackRunner, sample: Sample) -> CheckResult:
        block = sample.images
        key = seeding.derive(runner.seed, "checks", self.id)
        points = runner.threat.random_start(block.pixels(slice(None)), key, block.ids)
        cross_entropy = int(useless(runner.gradients(points, block.labels, "cross_entropy")).sum())
        margin = int(useless(runner.gradients(points, block.labels, "margin")).sum())
        found = (
            f"no gradient of cross-entropy at {cross_entropy} and of the margin at {margin} of {len(block)}"
        )
        # If only the cross-entropy underflows, attacks on the margin still work.
        grade: Grade = graded(margin, len(block), 0.0, sampled=False)
        if grade == "pass" and cross_entropy:
            grade = "warn"
        return CheckResult(grade=grade, found=f"{found} images", n=len(block))


@register("shattered_gradients")
class ShatteredGradients(ActiveCheck):
    """Compares gradients around the images; where they disagree, it compares the results of attacks.

    In many dimensions very different gradients may lead to the same place. Attacks on piecewise linear
    networks for photos work as well with gradients as with their means. So disagreement is not enough for a
    failure.
    """

    skips_black_box = True
    by_distance = True
    doubts = "attacks"
    passes = 900
    title = "Gradients lead as far as their means"
    expected = (
        f"gradients nearby with a mean cosine of {AGREED:g}, or else means of them that raise the margin at "
        f"most {STEP_RATIO:g} times as far; at all but {percent(LIMIT)} of the images"
    )
    meaning = (
        "A gradient that is another one a little further does not say where a step leads (shattered "
        "gradients, Athalye et al. 2018, arXiv:1802.00420): attacks by gradients wander about. "
        "Follow means of nearby gradients, gradient=smoothed(draws=64)."
    )

    def sample(self, context: Context) -> Sample:
        return context.correct_images(MAX_IMAGES)

    def look(self, runner: AttackRunner, sample: Sample) -> CheckResult:
        block = sample.images
        clean = block.pixels(slice(None))
        if not torch.allclose(
            runner.logits(clean), runner.logits(clean), rtol=TOLERANCE, atol=TOLERANCE, equal_nan=True
        ):
            raise NotApplicable("the classifier is random; its gradients differ by themselves")
        key = seeding.derive(runner.seed, "checks", self.id)

        def at(number: int) -> Tensor:
            noise = seeding.normal(seeding.derive(key, number), block.ids, tuple(clean.shape[1:]))
            return runner.gradients((clean + STD * noise).clamp(0, 1), block.labels, "margin")

        n, disagree = len(block), compared(map(at, range(LOOKS))).shattered.nonzero().squeeze(1)
        found = f"gradients of the margin nearby disagree at {len(disagree)} of {n} images"
        if len(disagree) <= LIMIT * n:
            return CheckResult(grade="pass", found=found, n=n)
        # Only a sample of them, since a mean takes many gradients.
        rank = seeding.uniform(key, block.ids[disagree], (1,)).squeeze(1)
        tried = block.take(disagree[rank.argsort(stable=True)[:STEPPED_IMAGES]])
        astray = torch.zeros_like(tried.labels, dtype=torch.bool)
        for descent in DESCENTS:
            own, means = (
                _gain(runner, tried, each) for each in (descent, IfShattered(attack=descent, agreement=1.0))
            )
            astray |= means > STEP_RATIO * own
        shattered = int(astray.sum())
        found += f"; their means lead farther at {shattered} of {len(tried)} of these"
        grade = graded(shattered, len(tried), LIMIT, sampled=True, weight=len(disagree) / n)
        return CheckResult(grade=grade, found=found, n=n)


def _gain(runner: AttackRunner, block: Split, attack: Attack) -> Tensor:
    """Return (N,) how much an attack raises the margin."""
    clean, reached = block.pixels(slice(None)), runner.attack(attack, block, early_stop=False).images
    before, after = (measure("margin", runner.logits(images), block.labels) for images in (clean, reached))
    return after - before
