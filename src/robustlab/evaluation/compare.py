"""Compares evaluations: two image by image, and any number of them side by side."""

import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import overload

from robustlab.core.errors import RunError
from robustlab.core.text import respelled
from robustlab.evaluation.finished import Finished, read_finished
from robustlab.evaluation.metrics import proportion
from robustlab.runs.comparison import Comparison, FlippedImage, SideBySide
from robustlab.runs.evaluation import Evaluation
from robustlab.runs.images_csv import ImageVerdict
from robustlab.runs.run import EvaluationFolder

RunOrFolder = str | Path | EvaluationFolder


@overload
def compare(first: RunOrFolder, second: RunOrFolder, /) -> Comparison: ...


@overload
def compare(
    first: RunOrFolder, second: RunOrFolder, third: RunOrFolder, /, *more: RunOrFolder
) -> SideBySide: ...


def compare(*runs: RunOrFolder) -> Comparison | SideBySide:
    """Compare two evaluations image by image, or put any number of them side by side.

    Args:
        runs: folders of evaluations, or what `robustlab.evaluate` returned. Two must be of the same images
            under the same threat model; with more runs these may differ.

    Returns:
        Of two runs a `Comparison`; of more a `SideBySide`, whose ``pairs`` are such comparisons.

    Raises:
        RunError: a folder holds no finished evaluation, or two runs can't be compared image by image.
    """
    if len(runs) == 2:
        one, two = map(read_finished, runs)
        return compare_pair(one, two)
    from robustlab.evaluation.comparison_table import side_by_side

    return side_by_side(*runs)


def labels_of(finished: Sequence[Finished]) -> list[str]:
    """Return a label for each run: the model, and its folder too where that is not enough."""
    known = [(run.results.subject.name, respelled(run.results.threat)) for run in finished]
    return [
        name if known.count((name, threat)) == 1 else f"{name} ({run.folder.absolute().name})"
        for run, (name, threat) in zip(finished, known, strict=True)
    ]


def names_of(finished: Sequence[Finished]) -> list[str]:
    """Return a name for each run: its label and its threat model."""
    return [
        f"{label} under {respelled(run.results.threat)}"
        for run, label in zip(finished, labels_of(finished), strict=True)
    ]


def compare_pair(one: Finished, two: Finished, names: tuple[str, ...] = ()) -> Comparison:
    """Compare two evaluations of the same images under the same threat model.

    Args:
        one, two: the evaluations.
        names: of both; default: from the models, and from the folders if that is not enough.

    Raises:
        RunError: the two can't be compared.
    """
    _check_alike(one.results, two.results)
    others = {verdict.image_id: verdict for verdict in two.verdicts}
    pairs = [(v, others[v.image_id]) for v in one.verdicts if v.image_id in others]
    if not pairs:
        raise RunError("the two evaluations have no image in common")
    for a, b in pairs:
        if a.label != b.label:
            raise RunError(f"the labels of image {a.image_id} differ: {a.label} and {b.label}")
    curved = [results for results in (one.results, two.results) if results.curve]
    searches = curved[0].searches if len(curved) == 1 else []
    pairs = [(_without(searches, a), _without(searches, b)) for a, b in pairs]
    first_name, second_name = names or names_of((one, two))
    n = len(pairs)
    both = sum(a.robust and b.robust for a, b in pairs)
    lost = sum(a.robust and not b.robust for a, b in pairs)
    gained = sum(b.robust and not a.robust for a, b in pairs)
    difference, low, high = paired_difference(both, gained, lost, n - both - gained - lost)
    return Comparison(
        n=n,
        first_n=len(one.verdicts),
        second_n=len(two.verdicts),
        first_name=first_name,
        second_name=second_name,
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
        curve_left_out=curved[0].title if len(curved) == 1 else "",
    )


def _without(searches: Sequence[str], verdict: ImageVerdict) -> ImageVerdict:
    """Return the verdict on an image before a curve's searches, which run after all other attacks."""
    return replace(verdict, state="robust") if verdict.attack in searches else verdict


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
    if data_hash(one) != data_hash(two):
        raise RunError(f"can't compare different images: {_images(one)} and {_images(two)}")
    # An older robustlab wrote an eps of 8/255 as a decimal.
    if respelled(one.threat) != respelled(two.threat):
        raise RunError(f"can't compare different threat models: {one.threat} and {two.threat}")
    if one.eight_bit != two.eight_bit:
        name = (one if one.eight_bit else two).title
        raise RunError(f"can't compare the two: only one of them, {name}, counts nothing but 8-bit images")


def _other_settings(one: Evaluation, two: Evaluation) -> list[str]:
    # By the attacks that ran: different specs may give the same attacks.
    same = _ran(one) == _ran(two)
    others = [] if same else [f"attacks: {one.attacks} and {two.attacks}"]
    if one.goal != two.goal:
        goals = " and ".join(results.goal or "any class except the label" for results in (one, two))
        others = [f"goal: {goals}"] + (others if one.attacks != two.attacks else [])
    for name in ("mode", "samples", "seed"):
        first, second = getattr(one, name), getattr(two, name)
        if first != second:
            others.append(f"{name}: {first} and {second}")
    first, second = requested_precision(one), requested_precision(two)
    if first and second and first != second:
        others.append(f"search precision: {first} and {second}")
    return others


def requested_precision(results: Evaluation) -> str:
    """Return the requested search precision; empty if a timing or the model's dtype decided."""
    decided = results.compute.pass_time is not None or results.subject.dtype != "fp32"
    return "" if decided else results.compute.training_precision


def attacks_text(results: Evaluation) -> str:
    """Return the requested attacks as text."""
    return results.attacks + (" with a curve" if results.curve else "")


def _ran(results: Evaluation) -> list[str]:
    """Return the attacks that ran, without the searches of a curve."""
    searches = results.searches
    return [row.attack for row in results.rows if row.attack not in searches]


def data_hash(results: Evaluation) -> str:
    """Return the hash of the images, since the same images may have several names."""
    return results.images.split_sha256 or results.images.sha256


def _images(results: Evaluation) -> str:
    return f"{results.images.name} ({data_hash(results)[:12]})"


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
