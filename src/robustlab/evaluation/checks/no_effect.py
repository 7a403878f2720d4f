"""Did the attacks have an effect? Signs in their rows that they had none, or made images easier."""

from collections.abc import Callable

from scipy.stats import binomtest

from robustlab.core.spec import register
from robustlab.evaluation.checks.attack_runner import NotApplicable
from robustlab.evaluation.checks.base import FEW, CheckResult, PassiveCheck, graded
from robustlab.evaluation.checks.context import AttackedRow, Context
from robustlab.evaluation.metrics import percent
from robustlab.runs.evaluation import Grade

LIMIT = 0.01
"""The share of the images that may stay unchanged; our choice."""
ALPHA = 0.01
"""The significance level for images that a search without gradients made easier; our choice."""
MAX_NAMED = 2
"""The most attacks whose figures are listed."""
_AT_ONCE = 250
"""The most images that are read at a time."""


@register("zero_distance")
class ZeroDistance(PassiveCheck):
    """Counts the images that a gradient attack returned unchanged.

    With few values that may change, the best place of each may be the end at which it already lies. Then the
    attack has no reason to move the image, so within a mask such images do not count.
    """

    by_distance = True
    doubts = "attacks"
    title = "The attacks move the images"
    expected = f"of each attack by gradients at most {percent(LIMIT)} of its images exactly the clean ones"
    meaning = (
        "An attack that does not move the images found nothing to follow, or is broken: it reports the "
        "accuracy on clean images."
    )

    def look(self, context: Context) -> CheckResult:
        _check_movable(context)
        rows = [row for row in context.found.rows if not (row.blind or row.minimum_norm) and row.searched]
        if not rows:
            raise NotApplicable("no attack followed gradients within eps")
        at_ends = _at_ends(context)
        if len(at_ends) == len(context.images):
            raise NotApplicable("all values that may change lie at 0 or 1, where they may be best")
        still = {row: row.still - len(row.still_ids & at_ends) for row in rows}
        grades = {row: graded(still[row], row.searched, LIMIT, sampled=False) for row in rows}
        others = f", apart from {len(at_ends)} whose values that may change lie at 0 or 1" if at_ends else ""
        return _worst(
            grades,
            max(row.searched for row in rows),
            lambda row: f"{still[row]} of {row.searched} images of {row.attack} are the clean ones{others}",
            f"of {len(rows)} attacks by gradients each moved at least {percent(1 - LIMIT)} of its images"
            f"{others}",
        )


@register("above_clean")
class AboveClean(PassiveCheck):
    """Compares the images that are classified correctly before and after an attack.

    Only an attack that also perturbs misclassified images can make some correct. An attack with the
    classifier's own gradients could have left them unchanged; a random attack may be unlucky.
    """

    by_distance = True
    doubts = "attacks"
    title = "An attack makes no image easier"
    expected = (
        "no more images classified correctly after an attack than before it; of one without gradients not "
        f"significantly more (sign test, {ALPHA:g})"
    )
    meaning = (
        "The attack goes the wrong way: without any attack there are more errors, so that its figure says "
        "nothing of robustness."
    )

    def look(self, context: Context) -> CheckResult:
        _check_movable(context)
        rows = [row for row in context.found.rows if row.white_box and row.misclassified]
        if not rows:
            raise NotApplicable("no attack perturbed misclassified images")
        return _worst(
            {row: _easier(row) for row in rows},
            max(row.attacked for row in rows),
            lambda row: (
                f"{row.gained} images became correct under {row.attack}, and {row.lost} misclassified"
            ),
            f"of {len(rows)} attacks on misclassified images, too, none left more images correct",
        )


def _check_movable(context: Context) -> None:
    if context.runner.threat.eps == 0:
        raise NotApplicable("eps is 0: no image may change")


def _at_ends(context: Context) -> frozenset[int]:
    """Return the ids of the images whose values that may change all lie at 0 or 1, if there is a mask."""
    threat, split = context.runner.threat, context.images
    if threat.movable(tuple(split.images.shape[1:])) is None:
        return frozenset()
    found: list[int] = []
    for start in range(0, len(split), _AT_ONCE):  # the images may be in files, and more than memory holds
        part = slice(start, start + _AT_ONCE)
        values = threat.free_values(split.pixels(part)).flatten(1)
        found += split.ids[part][((values == 0) | (values == 1)).all(dim=1)].tolist()
    return frozenset(found)


def _easier(row: AttackedRow) -> Grade:
    if row.gained <= row.lost:
        return "pass"
    changed = row.gained + row.lost
    if not row.by_gradient and binomtest(row.gained, changed, alternative="greater").pvalue >= ALPHA:
        return "pass"
    return "fail" if row.gained - row.lost >= FEW else "warn"


def _worst(
    grades: dict[AttackedRow, Grade], n: int, words: Callable[[AttackedRow], str], otherwise: str
) -> CheckResult:
    """Return the worst grade, with a text on the attacks that did not pass, the worst first."""
    doubtful = sorted((row for row in grades if grades[row] != "pass"), key=lambda row: grades[row] != "fail")
    more = [f"and so for {len(doubtful) - MAX_NAMED} more"] if len(doubtful) > MAX_NAMED else []
    found = "; ".join([*map(words, doubtful[:MAX_NAMED]), *more]) or otherwise
    return CheckResult(grade=grades[doubtful[0]] if doubtful else "pass", found=found, n=n)
