"""Is there a gradient? Checked before the first attack: without gradients most attacks have no effect."""

from dataclasses import replace
from typing import get_args

import torch
from torch import Tensor

from robustlab.attacks import frozen
from robustlab.attacks.losses import Loss
from robustlab.core import seeding
from robustlab.core.calling import UserCodeError, is_out_of_memory
from robustlab.core.spec import register
from robustlab.core.text import one_line
from robustlab.data import Split
from robustlab.evaluation.checks.attack_runner import AttackRunner
from robustlab.evaluation.checks.base import ActiveCheck, CheckResult
from robustlab.evaluation.checks.context import Context, Sample
from robustlab.evaluation.checks.gradients import useless
from robustlab.evaluation.ensembles.listing import gradient_free

FIRST_IMAGES, MAX_IMAGES = 4, 16
"""The number of images checked first, and the number checked before the check fails."""


@register("no_gradient")
class NoGradient(ActiveCheck):
    """Looks for a non-zero gradient of any loss."""

    skips_black_box = True
    by_distance = True
    cheap = True
    doubts = "attacks"
    title = "The classifier has a gradient"
    expected = "a gradient of any loss that is not zero, on one image at least"
    meaning = (
        "Attacks that follow a gradient find no more than random points do, however many steps they take: a "
        "high accuracy under them says nothing. Use attacks that need none, or give the step without a "
        "gradient that of a stand-in (BPDA)."
    )

    def sample(self, context: Context) -> Sample:
        misled = {attack.brief(): attack for attack in context.attacks.values() if attack.needs_gradient}
        return replace(context.any_images(MAX_IMAGES), attacks=misled)

    def look(self, runner: AttackRunner, sample: Sample) -> CheckResult:
        n = len(sample.images)
        reason = _reason(runner, sample.images)
        if not reason:
            return CheckResult(
                grade="pass", found="there is one, or no change of the answer to look for", n=n
            )
        misled = ", ".join(sample.attacks)
        asked = f"{misled} can find nothing" if misled else "the attacks asked for need none"
        free = ", ".join(gradient_free(runner.threat))
        found = f"no gradient at all: {reason}; {asked}; attacks that need none: {free}"
        return CheckResult(grade="fail" if misled else "warn", found=found, n=n)


def _reason(runner: AttackRunner, block: Split) -> str:
    """Return why there is no gradient; empty if one was found, or if the answer never changes."""
    clean = block.pixels(slice(None))
    near = runner.threat.random_start(clean, seeding.derive(runner.seed, "checks", NoGradient.id), block.ids)
    runner.logits(clean[:FIRST_IMAGES])  # a model that fails here fails without a gradient too
    try:
        for points in (clean[:FIRST_IMAGES], near):
            for loss in get_args(Loss):
                if not useless(runner.gradients(points, block.labels[: len(points)], loss)).all():
                    return ""
    except Exception as error:  # any exception of a model's code
        if is_out_of_memory(error) or (isinstance(error, UserCodeError) and error.quits):
            raise
        return f"to ask for one fails ({one_line(str(error), 150)})"
    noise = seeding.uniform(seeding.derive(runner.seed, "checks", "far"), block.ids, tuple(clean.shape[1:]))
    answers = runner.logits(torch.cat([clean, near, 1 - clean, noise]))
    if torch.equal(answers, answers[:1].expand_as(answers)):
        return ""
    if _connected(runner, clean[:1]):
        return f"zero at all {len(clean)} images tried (rounding, a step function, or saturation)"
    return "the output is cut off from the input (NumPy, ONNX, no_grad, detach, argmax or quantized layers)"


def _connected(runner: AttackRunner, image: Tensor) -> bool:
    """Return whether torch's graph connects the output with the input."""
    runner.spent.forwards += 1
    with frozen(runner.model), torch.enable_grad():
        logits: Tensor = runner.model(image.clone().requires_grad_())
    return logits.requires_grad
