"""Does the classifier give the same answers again, and in another batch?"""

import torch
from torch import Tensor

from robustlab.core.spec import register
from robustlab.evaluation.checks.attack_runner import AttackRunner, NotApplicable
from robustlab.evaluation.checks.base import ActiveCheck, CheckResult
from robustlab.evaluation.checks.context import Context, Sample

PASSES, MAX_IMAGES = 5, 250
TOLERANCE = 1e-4
"""Tolerances of logits, relative to their L2 norm. Both as in AutoAttack's checks (arXiv:2003.01690)."""
MAX_ALONE = 16
"""The number of images that are also evaluated one by one; our choice."""


def relative_distances(first: Tensor, again: Tensor) -> Tensor:
    """Return (N,) how far the logits lie apart, relative to their L2 norm; infinities and NaN count as 0."""
    first, again = (logits.nan_to_num(0.0, 0.0, 0.0) for logits in (first, again))
    length: Tensor = torch.linalg.vector_norm(first, dim=1)
    apart: Tensor = torch.linalg.vector_norm(first - again, dim=1)
    return apart / length.clamp(min=torch.finfo(first.dtype).tiny)


@register("randomness")
class Randomness(ActiveCheck):
    """Evaluates the same images several times."""

    cheap = True
    passes = 5
    title = "The same question has the same answer"
    expected = f"in {PASSES} passes equally many correct, and logits within {TOLERANCE:g} of their length"
    meaning = (
        "The classifier draws random numbers (dropout, noise, random resizing): an attack that asks "
        "once follows chance, and its success or failure is luck. Evaluate with 20 or more --eot-samples."
    )

    def sample(self, context: Context) -> Sample:
        return context.any_images(MAX_IMAGES)

    def look(self, runner: AttackRunner, sample: Sample) -> CheckResult:
        block = sample.images
        answers = [runner.logits(block.pixels(slice(None))) for _ in range(PASSES)]
        correct = sorted({int((logits.argmax(dim=1) == block.labels).sum()) for logits in answers})
        apart = max(float(relative_distances(answers[0], other).max()) for other in answers[1:])
        found = (
            f"{PASSES} passes got {' or '.join(map(str, correct))} right, logits at most {apart:.1e} apart"
        )
        if len(correct) == 1 and apart <= TOLERANCE:
            return CheckResult(grade="pass", found=found, n=len(block))
        if runner.eot_samples > 1:
            found += f"; every attack took means over {runner.eot_samples} passes"
        return CheckResult(grade="warn" if runner.eot_samples > 1 else "fail", found=found, n=len(block))


@register("batch_dependence")
class BatchDependence(ActiveCheck):
    """Evaluates images one by one that were evaluated in a batch."""

    cheap = True
    passes = 3
    title = "An answer does not depend on the other images"
    expected = f"logits of an image alone within {TOLERANCE:g} of those in a batch"
    meaning = (
        "The classifier mixes the images of a batch (statistics of the batch, for instance): the "
        "prediction depends on the rest of the batch, and no verdict on one image holds."
    )

    def sample(self, context: Context) -> Sample:
        return context.any_images(MAX_ALONE)

    def look(self, runner: AttackRunner, sample: Sample) -> CheckResult:
        images = sample.images.pixels(slice(None))
        if len(images) == 1:
            raise NotApplicable("there is only one image")
        together = runner.logits(images)
        if relative_distances(together, runner.logits(images)).max() > TOLERANCE:
            raise NotApplicable("the answers change from pass to pass; see randomness")
        alone = torch.cat([runner.logits(image) for image in torch.split(images, 1)])
        apart = float(relative_distances(together, alone).max())
        found = f"logits at most {apart:.1e} apart"
        return CheckResult(grade="pass" if apart <= TOLERANCE else "fail", found=found, n=len(images))
