"""Does a larger eps break more images, eps 0 none, and an unbounded eps all?"""

import torch
from torch import Tensor

from robustlab.attacks import PGD
from robustlab.core.spec import register
from robustlab.core.text import level
from robustlab.evaluation.checks.attack_runner import AttackRunner, NotApplicable
from robustlab.evaluation.checks.base import FEW, ActiveCheck, CheckResult
from robustlab.evaluation.checks.context import Context, Sample
from robustlab.evaluation.metrics import percent
from robustlab.runs.evaluation import Grade

MAX_IMAGES = 100
ATTACK = PGD(steps=20, loss="margin")
AT_ZERO = PGD(steps=5, loss="margin")
UNLIMITED = PGD(steps=50, loss="margin")
FRACTIONS = (0.25, 0.5, 0.75, 1.0, 1.25, 1.5, 2.0, 3.0)
"""Fractions of the threat model's eps."""
MAX_RISE = 0.02
"""Our choice: on a hundred images, PGD may miss one or two by chance."""
MAX_ROBUST = 0.01
"""The share of images that may withstand an unbounded attacker; our choice, after Carlini et al. 2019
(arXiv:1902.06705)."""


@register("accuracy_grows_with_eps")
class Monotone(ActiveCheck):
    """Runs the same attack at several eps."""

    skips_black_box = True
    by_distance = True
    doubts = "attacks"
    passes = 350
    title = "More freedom breaks more"
    expected = f"accuracy that never rises by more than {percent(MAX_RISE)} from one eps to a larger one"
    meaning = (
        "What an attacker may do at a small eps he may do at a larger one. An attack that does worse "
        "there has not found what exists: it is led astray, or broken."
    )

    def sample(self, context: Context) -> Sample:
        return context.any_images(MAX_IMAGES)

    def look(self, runner: AttackRunner, sample: Sample) -> CheckResult:
        block, widest = sample.images, runner.widest(sample.images)
        radii = sorted({min(runner.threat.eps * part, widest) for part in FRACTIONS})
        threats = list(dict.fromkeys(runner.threat.at(eps) for eps in radii))
        left = [int((~runner.attack(ATTACK, block, threat=threat).successes).sum()) for threat in threats]
        rise = max([0, *(after - min(left[: i + 1]) for i, after in enumerate(left[1:]))])
        steps = ", ".join(
            f"{count} at {level(threat.eps)}" for threat, count in zip(threats, left, strict=True)
        )
        grade: Grade = "pass" if rise <= MAX_RISE * len(block) else "fail" if rise >= FEW else "warn"
        return CheckResult(grade=grade, found=f"of {len(block)} images {steps}", n=len(block))


@register("extreme_eps")
class Extremes(ActiveCheck):
    """Attacks with eps 0, with half of the pixel range, and with the whole range.

    With the whole range every image must break, if two images have different answers. Otherwise the
    classifier may be constant on the whole pixel range.
    """

    skips_black_box = True
    by_distance = True
    doubts = "attacks"
    passes = 330
    title = "eps = 0 breaks nothing; an unbounded eps breaks everything"
    expected = (
        "of the correct images, at eps 0 all; where every image can become the same grey one, at most "
        "the share of the largest class; where every image can become any other, at most "
        f"{percent(MAX_ROBUST)}, if any two images are known to have different answers"
    )
    meaning = (
        "With such an eps success is certain to exist: an attack that misses it can't be believed at a "
        "small eps either."
    )

    def sample(self, context: Context) -> Sample:
        return context.correct_images(MAX_IMAGES)

    def look(self, runner: AttackRunner, sample: Sample) -> CheckResult:
        runner.check_no_mask(sample.images)
        criterion = runner.criterion
        if not (criterion.any_rival or criterion.targeted):
            raise NotApplicable(f"an image that reaches the goal {criterion!r} may not exist")
        block, targets = sample.images, runner.targets(sample.images)
        impossible = criterion.impossible(block.labels, targets)
        if targets is not None and impossible is not None:
            block, targets = block.take(~impossible), targets[~impossible]
            if not len(block):
                raise NotApplicable("every image has its target as label")
        n, widest, answers = len(block), runner.widest(block), [sample.images.labels]

        def left(eps: float, attack: PGD) -> Tensor:
            result = runner.attack(attack, block, threat=runner.threat.at(eps))
            answers.append(result.predictions)
            return ~result.successes

        at_zero, free = int(left(0.0, AT_ZERO).sum()), left(widest, UNLIMITED)
        text = (
            f"{percent(at_zero / n)} at eps 0, {percent(float(free.double().mean()))} at eps {level(widest)}"
        )
        wrong = at_zero != n
        # The same grey image has one class, which is not the target of all.
        half = runner.threat.eps_to_grey(tuple(block.images.shape[1:]))
        if half < widest and targets is None:
            grey, largest = int(left(half, UNLIMITED).sum()), int(block.labels.bincount().max())
            text += f", {percent(grey / n)} at half of that (largest class {percent(largest / n)})"
            wrong |= grey > largest
        known = torch.cat(answers)
        if targets is not None:
            # Success exists where an image of the target class is known.
            free &= torch.isin(targets, known)
        if (known != known[0]).any():
            wrong |= int(free.sum()) > MAX_ROBUST * n
        else:
            text += "; no image with another answer is known"
        return CheckResult(grade="fail" if wrong else "pass", found=text, n=n)
