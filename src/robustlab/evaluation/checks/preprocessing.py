"""Do the images reach the classifier in the form that it was trained on?"""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from scipy.stats import binomtest
from torch import Tensor, nn

from robustlab.core.calling import UserCodeError
from robustlab.core.errors import RobustlabError
from robustlab.core.own_dtype import InOwnDtype, in_own_dtype
from robustlab.core.spec import register
from robustlab.data import Split
from robustlab.evaluation.checked_model import CheckedModel, unguarded
from robustlab.evaluation.checks.attack_runner import AttackRunner, NotApplicable
from robustlab.evaluation.checks.base import ActiveCheck, CheckResult
from robustlab.evaluation.checks.context import Context, Sample
from robustlab.evaluation.checks.randomness import TOLERANCE, relative_distances
from robustlab.evaluation.metrics import percent, proportion
from robustlab.evaluation.preprocessing import usual
from robustlab.models.black_box import is_black_box
from robustlab.models.preprocessing import Preprocessed, Preprocessing

MAX_IMAGES, MAX_RATIO = 2000, 10
"""The most images of the check, and the largest multiple of the evaluation's images, to limit its cost."""
TYPICAL = 100
"""The number of images whose mean and standard deviation choose a dataset's preprocessing."""
ALPHA = 0.01
"""The significance level of a failure, over all candidates; our choice."""
MIN_KNOWN = 1 / 3
"""The accuracy that a candidate needs, as a share of the way from guessing the commonest class to 1; our
choice."""


@dataclass(frozen=True)
class Candidate:
    """Another form of the images: the classifier for it, the conversion, and the remedy."""

    model: nn.Module
    turn: Callable[[Tensor], Tensor]
    title: str
    remedy: str
    drops: bool = False
    """Whether the remedy is to omit an option of the user."""


@register("preprocessing")
class UsualPreprocessing(ActiveCheck):
    """Classifies the clean images under each usual preprocessing."""

    passes, fewest = 10, 30
    title = "The images come as in training"
    expected = (
        f"no usual preprocessing with significantly more correct clean images (McNemar's test, {ALPHA:g})"
    )
    meaning = (
        "A normalisation, a scale or an order that belongs to the classifier was left outside: both its "
        "accuracy and its robustness are those of another classifier."
    )

    def sample(self, context: Context) -> Sample:
        if is_black_box(context.runner.model) and len(context.found.correct) > len(context.images) / 2:
            # On so few images no other form could be significantly better.
            raise NotApplicable("the classifier is a black box that classifies most images correctly")
        return context.of_whole_split(min(MAX_IMAGES, MAX_RATIO * len(context.images)))

    def look(self, runner: AttackRunner, sample: Sample) -> CheckResult:
        block = sample.images
        own = _correct(runner, block, runner.model, lambda images: images)
        found = f"{percent(own.double().mean().item())} correct as it is"
        candidates = _candidates(runner, block.pixels(_spread(block)))
        if _chance(int((~own).sum()), 0) * len(candidates) >= ALPHA:
            found += ", too few errors for a significantly better one"
            return CheckResult(grade="pass", found=found, n=len(block))
        answers = [(_correct(runner, block, other.model, other.turn), other) for other in candidates]
        best, candidate = max(answers, key=lambda answer: int(answer[0].sum()))
        for correct, other in answers:
            # Of two equally good candidates, omitting an option is the simpler remedy.
            if other.drops and _chance(int((best & ~correct).sum()), int((correct & ~best).sum())) >= ALPHA:
                best, candidate = correct, other
        gained, lost = int((best & ~own).sum()), int((own & ~best).sum())
        found += f", at best {percent(best.double().mean().item())} {candidate.title}"
        # An untrained network may be significantly better by chance, but it never has a high accuracy.
        common = int(block.labels.bincount().max()) / len(block)
        knows = proportion(int(best.sum()), len(block)).low > common + MIN_KNOWN * (1 - common)
        if knows and _chance(gained, lost) * len(answers) < ALPHA:
            found += f" ({gained} images gained, {lost} lost): {candidate.remedy}"
            if _is_random(runner, block):
                # A larger scale alone makes the noise of such a classifier smaller beside the image.
                found += "; but its answers change from pass to pass, and that alone may be the reason"
                return CheckResult(grade="warn", found=found, n=len(block))
            return CheckResult(grade="fail", found=found, n=len(block))
        return CheckResult(grade="pass", found=found, n=len(block))


def _chance(gained: int, lost: int) -> float:
    """Return the probability of at least ``gained`` gains among the changed images, if both are equal."""
    changed = gained + lost
    return float(binomtest(gained, changed, alternative="greater").pvalue) if changed else 1.0


def _is_random(runner: AttackRunner, block: Split) -> bool:
    """Return whether the classifier answers differently when it is asked again about a batch."""
    images = block.pixels(slice(int(runner.batch_size)))
    first, again = (runner.logits(images) for _ in range(2))
    return bool(relative_distances(first, again).max() > TOLERANCE)


def _correct(
    runner: AttackRunner, block: Split, model: nn.Module, turn: Callable[[Tensor], Tensor]
) -> Tensor:
    """Return (N,) which images are classified correctly; none if the classifier refuses the form."""
    parts = []
    try:
        for rows in torch.split(torch.arange(len(block), device=block.labels.device), int(runner.batch_size)):
            logits = runner.logits(turn(block.pixels(rows)), model)
            parts.append(logits.argmax(dim=1) == block.labels[rows])
    except RobustlabError as error:
        if isinstance(error, UserCodeError) and error.quits:
            raise
        return torch.zeros_like(block.labels, dtype=torch.bool)
    return torch.cat(parts)


def _spread(block: Split) -> Tensor:
    """Return the rows of at most `TYPICAL` images, spread over all of them."""
    return torch.arange(0, len(block), math.ceil(len(block) / TYPICAL), device=block.labels.device)


def _candidates(runner: AttackRunner, images: Tensor) -> list[Candidate]:
    """Return the other forms of images such as these, (N, C, H, W).

    For a network behind a preprocessing they replace its normalisation; a resize and a crop stay.
    """
    _, channels, height, width = images.shape
    network, now = unguarded(runner.model), Preprocessing()
    inner = network.model if isinstance(network, InOwnDtype) else network
    if isinstance(inner, Preprocessed):
        network, now = in_own_dtype(inner.network, images[:1]), inner.preprocessing
    others = usual(images) | {"": Preprocessing()}
    leave = (
        "evaluate with --mean 0 --std 1 --scale 1" if now.origin else "leave out --mean, --std and --scale"
    )
    candidates = []
    for option, usual_one in others.items():
        normalised = {name: getattr(usual_one, name) for name in ("mean", "std", "scale")}
        preprocessing = replace(now, **normalised)
        if preprocessing != now:
            model = CheckedModel(Preprocessed(network, preprocessing).to(runner.device), runner.classes)
            remedy = f"evaluate with {option}" if option else leave
            candidates.append(
                Candidate(model, lambda images: images, f"with {preprocessing}", remedy, not option)
            )
    if height == width:
        remedy = "swap height and width where the images are loaded, images.transpose(2, 3)"
        candidates.append(
            Candidate(runner.model, lambda images: images.mT.contiguous(), "transposed", remedy)
        )
    if channels == 3:
        remedy = "reverse the channels (BGR, RGB) where the images are loaded, images.flip(1)"
        candidates.append(
            Candidate(runner.model, lambda images: images.flip(1), "with reversed channels", remedy)
        )
    return candidates
