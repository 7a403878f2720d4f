"""Do the stored images, the size of the sample and the classifier's mode support the figure?"""

import torch

from robustlab.core.spec import register
from robustlab.core.text import level, of_255
from robustlab.core.tolerance import with_tolerance
from robustlab.evaluation.checks.attack_runner import NotApplicable
from robustlab.evaluation.checks.base import CheckResult, PassiveCheck
from robustlab.evaluation.checks.context import Context
from robustlab.evaluation.metrics import percent, proportion

TOLERANCE = 1e-5
"""Relative and absolute tolerance between two measurements of a distance, in other batches or on another
device."""
MIN_IMAGES = 1000
"""Our choice: the 95 % interval then has at most three points on each side."""


@register("stored_images")
class StoredImages(PassiveCheck):
    """Measures again the adversarial images on the disk."""

    title = "Every adversarial image is allowed"
    expected = "all values in [0, 1], and no distance above eps, in pixel units, or other than when confirmed"
    meaning = (
        "An attack left the threat model or the pixel range, or the images changed since: what was broken "
        "by them does not count."
    )

    def look(self, context: Context) -> CheckResult:
        ids = sorted(context.found.broken)
        if not ids:
            raise NotApplicable("no image was broken")
        threat, outside, changed, farthest = context.runner.threat, 0, 0, 0.0
        for part in torch.split(torch.tensor(ids), int(context.runner.batch_size)):
            clean = context.images.take(torch.isin(context.images.ids, part))
            numbers = clean.ids.tolist()
            images = context.found.adversarial(numbers)
            distances = threat.distance(images, clean.pixels(slice(None)))
            inside = ((images >= 0) & (images <= 1)).flatten(1).all(dim=1)
            allowed = distances <= with_tolerance(threat.eps)
            confirmed = torch.tensor([context.found.broken[number] for number in numbers])
            outside += int((~(inside & allowed)).sum())
            changed += int((~torch.isclose(distances, confirmed, rtol=TOLERANCE, atol=TOLERANCE)).sum())
            farthest = max(farthest, float(distances.max()))
        found = (
            f"{outside} of {len(ids)} outside, {changed} not as they were confirmed; the farthest at "
            f"{of_255(farthest) or format(farthest, '.6g')}, eps is {level(threat.eps)}"
        )
        return CheckResult(grade="fail" if outside or changed else "pass", found=found, n=len(ids))


@register("clean_accuracy")
class CleanAccuracy(PassiveCheck):
    """Compares the accuracy on clean images with chance."""

    title = "The classifier knows its images"
    expected = "the 95 % interval of the clean accuracy above chance"
    meaning = (
        "The images reach the classifier in another form than in training (scale, normalisation, "
        "channels), or the labels are others: its robustness says nothing then."
    )

    def look(self, context: Context) -> CheckResult:
        n = len(context.images)
        clean, chance = proportion(len(context.found.correct), n), 1 / context.runner.classes
        found = f"{percent(clean.value)} of {n} images, chance is {percent(chance)}"
        return CheckResult(grade="pass" if clean.low > chance else "fail", found=found, n=n)


@register("sample_size")
class SampleSize(PassiveCheck):
    """Measures how much the figure may vary by chance."""

    title = "There are enough images"
    expected = f"at least {MIN_IMAGES} images"
    meaning = (
        "Other images of the same kind may give quite another figure: a comparison of two classifiers "
        "shows nothing."
    )

    def look(self, context: Context) -> CheckResult:
        n = len(context.images)
        robust = proportion(len(context.found.correct - context.found.broken.keys()), n)
        found = f"{n} images, a 95 % interval from {percent(robust.low)} to {percent(robust.high)}"
        return CheckResult(grade="pass" if n >= MIN_IMAGES else "warn", found=found, n=n)


@register("train_mode")
class TrainMode(PassiveCheck):
    """Checks the modes of the classifier's parts before the evaluation."""

    title = "The classifier came in one mode"
    expected = "no part in train mode while the whole is not"
    meaning = (
        "Dropout draws random numbers in train mode, and batch normalisation goes by the other images: if "
        "that is meant, what was evaluated, all of it in eval mode, is another classifier."
    )

    def look(self, context: Context) -> CheckResult:
        names = context.found.in_train_mode
        listing = ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
        found = f"in train mode: {listing or 'no part'}; evaluated in eval mode"
        return CheckResult(grade="warn" if names else "pass", found=found, n=len(context.images))
