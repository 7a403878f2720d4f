"""Puts any number of evaluations side by side, and says how they differ and what can be compared."""

from collections.abc import Callable, Sequence
from itertools import groupby, pairwise

from robustlab.core.errors import RunError
from robustlab.core.text import respelled
from robustlab.evaluation.compare import (
    RunOrFolder,
    attacks_text,
    compare_pair,
    data_hash,
    labels_of,
    names_of,
    requested_precision,
)
from robustlab.evaluation.finished import Finished, read_finished
from robustlab.evaluation.metrics import proportion
from robustlab.runs.comparison import ComparedRun, Comparison, Difference, SideBySide
from robustlab.runs.evaluation import Evaluation

_SETTINGS: dict[str, Callable[[Evaluation], str]] = {
    "images": lambda r: f"{r.images.name} ({data_hash(r)[:12]})",
    "number of images": lambda r: str(r.images.n),
    "threat model": lambda r: respelled(r.threat),
    "attacks": lambda r: "none" if r.proofs_only else attacks_text(r),
    "goal": lambda r: r.goal or "any class except the label",
    "mode": lambda r: r.mode,
    "8-bit images": lambda r: "only these count" if r.eight_bit else "any values count",
    "passes per point": lambda r: str(r.samples),
    "seed": lambda r: str(r.seed),
    "certifier": lambda r: r.certificates.certifier if r.certificates else "none",
    "search precision": lambda r: requested_precision(r) or "chosen by a timing or the model",
    "robustlab": lambda r: r.compute.versions.get("robustlab", "unknown"),
    "machine": lambda r: f"{r.compute.device_name}, {r.compute.threads} threads",
}
"""The settings that may differ, each with its value as text."""

_OF_THE_FIGURE = {"attacks", "goal", "mode", "passes per point", "seed", "search precision", "robustlab"}
"""Those that may explain a difference of robust accuracy; the threat model and the images are apart."""


def side_by_side(*runs: RunOrFolder) -> SideBySide:
    """Put evaluations side by side; any models, images and threat models are allowed.

    Args:
        runs: at least two folders of evaluations, or what `robustlab.evaluate` returned.

    Raises:
        RunError: there are fewer than two, or a folder holds no finished evaluation.
    """
    if len(runs) < 2:
        for run in runs:
            read_finished(run)  # of a folder of several runs it names these
        raise RunError(f"a comparison needs at least two runs; found {len(runs)}")
    finished = [read_finished(run) for run in runs]
    differences = _differences([run.results for run in finished])
    return SideBySide(
        runs=_compared(finished),
        differences=differences,
        notes=_notes(finished, {difference.name for difference in differences}),
        pairs=_pairs(finished),
    )


def _compared(finished: Sequence[Finished]) -> list[ComparedRun]:
    labels, common = labels_of(finished), _common(finished)
    lines = [
        (run.results.subject.name, run.results.subject.sha256, data_hash(run.results)) for run in finished
    ]
    numbers = {line: number for number, line in enumerate(dict.fromkeys(lines))}
    compared = []
    for run, label, line in zip(finished, labels, lines, strict=True):
        results = run.results
        shared = [verdict.robust for verdict in run.verdicts if verdict.image_id in common]
        compared.append(
            ComparedRun(
                label=label,
                line=numbers[line],
                folder=str(run.folder),
                model=results.subject.name,
                threat=respelled(results.threat),
                norm=results.norm,
                eps=results.eps,
                bounded=results.bounded,
                n=results.images.n,
                clean=results.clean,
                robust=None if results.proofs_only else results.robust,
                certified=results.certified,
                common=proportion(sum(shared), len(shared)) if shared and not results.proofs_only else None,
                curve=results.curve,
                passes=(results.forwards + results.backwards) / results.images.n,
                seconds=results.seconds,
                failed=[check.title for check in results.red_flags],
                checked=bool(results.checks),
            )
        )
    return compared


def _common(finished: Sequence[Finished]) -> set[int]:
    """Return the ids of the images in all runs; empty if the splits differ, or all have the same images."""
    ids = [{verdict.image_id for verdict in run.verdicts} for run in finished]
    same = len({data_hash(run.results) for run in finished}) == 1
    return set.intersection(*ids) if same and any(one != ids[0] for one in ids) else set()


def _differences(results: Sequence[Evaluation]) -> list[Difference]:
    found = [Difference(name=name, values=[text(r) for r in results]) for name, text in _SETTINGS.items()]
    return [difference for difference in found if len(set(difference.values)) > 1]


def _pairs(finished: Sequence[Finished]) -> list[Comparison]:
    first: dict[tuple[object, ...], Finished] = {}
    names = {id(run): name for run, name in zip(finished, names_of(finished), strict=True)}
    pairs = []
    for run in finished:
        results = run.results
        if results.proofs_only:
            continue
        known = first.setdefault((data_hash(results), respelled(results.threat), results.eight_bit), run)
        ids = {verdict.image_id for verdict in known.verdicts}
        if known is not run and any(verdict.image_id in ids for verdict in run.verdicts):
            pairs.append(compare_pair(known, run, (names[id(known)], names[id(run)])))
    return pairs


def _notes(finished: Sequence[Finished], differ: set[str]) -> list[str]:
    notes = []
    if "images" in differ:
        notes.append(
            "The runs are about different images. So a difference of two accuracies means little unless "
            "their intervals lie far apart."
        )
    elif "number of images" in differ:
        notes.append(
            "The runs have different numbers of images of one split. The column on common images compares "
            "them on those that all runs have."
        )
    norms = {run.results.norm for run in finished}
    if len(norms) > 1:
        notes.append(f"The eps of different norms ({', '.join(sorted(norms))}) can't be compared.")
    elif "threat model" in differ:
        notes.append("The threat models differ: compare models at the same eps, or the lines of the chart.")
    if "8-bit images" in differ:
        notes.append("Some runs count only 8-bit images, which are harder to find. Do not compare these.")
    if others := sorted(_OF_THE_FIGURE & differ):
        notes.append(f"A difference of robust accuracy may come from other settings: {', '.join(others)}.")
    if "machine" in differ:
        notes.append("Seconds are of different machines; passes do not depend on the machine.")
    notes += [
        f"{run.results.title}: no attack ran, so only the certified accuracy is known."
        for run in finished
        if run.results.proofs_only
    ]
    doubtful = [run.results.title for run in finished if run.results.doubtful]
    if doubtful:
        notes.append(f"A check failed, so do not believe the robust accuracy of {'; '.join(doubtful)}.")
    return notes + _rising(finished)


def _rising(finished: Sequence[Finished]) -> list[str]:
    """Return a note for each model that seems more robust at a larger eps, which is impossible."""

    def line(run: Finished) -> tuple[str, ...]:
        results = run.results
        same = (results.subject.sha256, results.images.sha256, results.norm, results.goal)
        return (results.subject.name, *same, str(results.eight_bit))

    notes = []
    attacked = [run for run in finished if run.results.bounded and not run.results.proofs_only]
    for _, group in groupby(sorted(attacked, key=line), key=line):
        by_eps = sorted(group, key=lambda run: run.results.eps)
        for small, large in pairwise(by_eps):
            one, two = small.results, large.results
            if one.eps < two.eps and two.robust.value > one.robust.value:
                notes.append(
                    f"{two.title} shows a higher robust accuracy than {one.title}. A larger eps allows more, "
                    "so the attacks at the larger eps were too weak."
                )
    return notes
