"""Compares two evaluations image by image."""

import math
from pathlib import Path

from robustlab.core.errors import RunError
from robustlab.core.text import respelled
from robustlab.evaluation.finished import read_finished
from robustlab.evaluation.metrics import proportion
from robustlab.runs.evaluation import Evaluation
from robustlab.runs.records import Figure, Record
from robustlab.runs.run import EvaluationFolder


class FlippedImage(Record):
    """An image that is robust in only one of the evaluations; the states are as in images.csv."""

    image_id: int
    label: int
    first: str
    second: str


class Comparison(Record):
    """The second evaluation compared with the first, on the images that both attacked.

    Attributes:
        n: the number of images in both.
        first_n: the number of images that the first attacked; likewise ``second_n``.
        first: its robust accuracy on the common images; likewise ``second``.
        difference: second minus first, with a 95 % interval; above 0 the second is more robust.
        gained: the number of images that are robust only in the second.
        lost: the number of images that are robust only in the first.
        p_value: of McNemar's exact test: the probability of such uneven flips if both are equally robust.
        other_settings: other differences, in attacks, mode, samples, seed or search precision, each as
            ``name: first and second``; they may explain the difference.
        flipped: the gained and lost images.
    """

    n: int
    first_n: int
    second_n: int
    first_name: str
    second_name: str
    first: Figure
    second: Figure
    difference: float
    low: float
    high: float
    gained: int
    lost: int
    p_value: float
    other_settings: list[str]
    flipped: list[FlippedImage]


def compare(first: str | Path | EvaluationFolder, second: str | Path | EvaluationFolder) -> Comparison:
    """Compare two evaluations of the same images under the same threat model.

    Args:
        first: an evaluation's folder, or what `robustlab.evaluate` returned.
        second: the same.

    Raises:
        RunError: a folder holds no finished evaluation, or the two can't be compared.
    """
    one, two = read_finished(first), read_finished(second)
    _check_alike(one.results, two.results)
    others = {verdict.image_id: verdict for verdict in two.verdicts}
    pairs = [(v, others[v.image_id]) for v in one.verdicts if v.image_id in others]
    if not pairs:
        raise RunError("the two evaluations have no image in common")
    for a, b in pairs:
        if a.label != b.label:
            raise RunError(f"the labels of image {a.image_id} differ: {a.label} and {b.label}")
    n = len(pairs)
    both = sum(a.robust and b.robust for a, b in pairs)
    lost = sum(a.robust and not b.robust for a, b in pairs)
    gained = sum(b.robust and not a.robust for a, b in pairs)
    difference, low, high = paired_difference(both, gained, lost, n - both - gained - lost)
    return Comparison(
        n=n,
        first_n=len(one.verdicts),
        second_n=len(two.verdicts),
        first_name=one.results.title,
        second_name=two.results.title,
        first=proportion(both + lost, n),
        second=proportion(both + gained, n),
        difference=difference,
        low=low,
        high=high,
        gained=gained,
        lost=lost,
        p_value=mcnemar(gained, lost),
        other_settings=_other_settings(one.results, two.results),
        flipped=[
            FlippedImage(image_id=a.image_id, label=a.label, first=a.state, second=b.state)
            for a, b in pairs
            if a.robust != b.robust
        ],
    )


def mcnemar(gained: int, lost: int) -> float:
    """Return the p-value of the two-sided binomial test of the flips; scipy takes a second to load."""
    n, fewer = gained + lost, min(gained, lost)
    if gained == lost:
        return 1.0
    tail = ratio = 1.0  # P(X <= fewer) / P(X = fewer)
    for k in range(fewer, 0, -1):
        ratio *= k / (n - k + 1)
        tail += ratio
    return float(min(1.0, 2 * tail * (math.comb(n, fewer) / 2**n)))


def _check_alike(one: Evaluation, two: Evaluation) -> None:
    for results in (one, two):
        if results.proofs_only:
            raise RunError(f"can't compare {results.title}: it has certificates, but no attack ran")
    if _data(one) != _data(two):
        raise RunError(f"can't compare different images: {_images(one)} and {_images(two)}")
    # An older robustlab wrote an eps of 8/255 as a decimal.
    if respelled(one.threat) != respelled(two.threat):
        raise RunError(f"can't compare different threat models: {one.threat} and {two.threat}")
    if one.eight_bit != two.eight_bit:
        name = (one if one.eight_bit else two).title
        raise RunError(f"can't compare the two: only one of them, {name}, counts nothing but 8-bit images")


def _other_settings(one: Evaluation, two: Evaluation) -> list[str]:
    # By the attacks that ran: different specs may give the same attacks.
    same = [row.attack for row in one.rows] == [row.attack for row in two.rows]
    others = [] if same else [f"attacks: {_attacks(one)} and {_attacks(two)}"]
    if one.goal != two.goal:
        goals = " and ".join(results.goal or "any class except the label" for results in (one, two))
        others = [f"goal: {goals}"] + (others if _attacks(one) != _attacks(two) else [])
    for name in ("mode", "samples", "seed"):
        first, second = getattr(one, name), getattr(two, name)
        if first != second:
            others.append(f"{name}: {first} and {second}")
    first, second = _precision(one), _precision(two)
    if first and second and first != second:
        others.append(f"search precision: {first} and {second}")
    return others


def _precision(results: Evaluation) -> str:
    """Return the requested search precision; empty if a timing or the model's dtype decided."""
    decided = results.compute.pass_time is not None or results.subject.dtype != "fp32"
    return "" if decided else results.compute.training_precision


def _attacks(results: Evaluation) -> str:
    return results.attacks + (" with a curve" if results.curve else "")


def _data(results: Evaluation) -> str:
    """Return the hash of the images, since the same images may have several names."""
    return results.images.split_sha256 or results.images.sha256


def _images(results: Evaluation) -> str:
    return f"{results.images.name} ({_data(results)[:12]})"


def paired_difference(
    both: int, second_only: int, first_only: int, neither: int
) -> tuple[float, float, float]:
    """Return the difference of two paired shares, second minus first, and its 95 % interval.

    Newcombe 1998 (Statistics in Medicine 17:2635), method 10: Wilson's intervals of the two shares, joined by
    their correlation.

    Args:
        both: the number of images counted in both shares; ``second_only``, ``first_only`` and ``neither``
            likewise.
    """
    n = both + second_only + first_only + neither
    one, two = proportion(both + second_only, n), proportion(both + first_only, n)
    scale = (both + second_only) * (first_only + neither) * (both + first_only) * (second_only + neither)
    product = float(both * neither - second_only * first_only)
    if product > 0:
        product = max(product - n / 2, 0.0)
    phi = product / math.sqrt(scale) if scale else 0.0
    difference = (second_only - first_only) / n
    below = _joined(one.value - one.low, two.high - two.value, phi)
    above = _joined(one.high - one.value, two.value - two.low, phi)
    return difference, difference - below, difference + above


def _joined(first: float, second: float, phi: float) -> float:
    return math.sqrt(max(first**2 - 2 * phi * first * second + second**2, 0.0))
