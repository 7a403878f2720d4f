"""A finished evaluation, with its verdict on each image."""

from collections import Counter
from dataclasses import dataclass
from math import isclose
from pathlib import Path

from robustlab.core.arguments import as_path
from robustlab.core.errors import RunError
from robustlab.evaluation.metrics import proportion
from robustlab.runs.evaluation import Evaluation
from robustlab.runs.images_csv import FILE, ImageVerdict, read_verdicts
from robustlab.runs.manifest import AGAIN, check_unchanged
from robustlab.runs.records import Figure
from robustlab.runs.run import EvaluationFolder, load_run


@dataclass(frozen=True, kw_only=True)
class Finished:
    """The data of an evaluation for `compare` and `gate`."""

    folder: Path
    results: Evaluation
    verdicts: list[ImageVerdict]


def read_finished(run: str | Path | EvaluationFolder) -> Finished:
    """Read a finished evaluation from its folder, and check every figure against the verdicts.

    Raises:
        RunError: the folder has no finished evaluation (also after a restart that did not end), or its files
            are damaged, changed or inconsistent.
    """
    folder = run.folder if isinstance(run, EvaluationFolder) else as_path("run", run)
    loaded = load_run(folder)
    if not isinstance(loaded, EvaluationFolder):
        raise RunError(f"{folder} holds a study; an evaluation is needed (robustlab evaluate)")
    results = loaded.results
    verdicts = read_verdicts(folder, results)
    if wrong := _disagreement(results, verdicts):
        raise RunError(f"{folder}: {FILE} and results.json do not agree on {wrong}; {AGAIN}")
    check_unchanged(folder / FILE)
    return Finished(folder=folder, results=results, verdicts=verdicts)


def _disagreement(results: Evaluation, verdicts: list[ImageVerdict]) -> str:
    """Return the name of a figure that contradicts the verdicts; empty if none does."""
    if len(verdicts) != results.images.n:
        return f"the number of images: {len(verdicts)}, and {results.images.n}"
    states = Counter(verdict.state for verdict in verdicts)
    counted = {
        "clean": (results.clean, len(verdicts) - states["misclassified"]),
        "robust": (results.robust, len(verdicts) - states["misclassified"] - states["broken"]),
        "certified": (results.certified, states["certified"]),
    }
    for name, (figure, count) in counted.items():
        if figure is not None and not _is_same(figure, proportion(count, len(verdicts))):
            return f"{name} accuracy: {count} of {len(verdicts)} images, and {figure}"
    certificates, probable = results.certificates, sum(verdict.certificate > 0 for verdict in verdicts)
    if probable != (certificates.count if certificates and certificates.confidence < 1 else 0):
        return f"statistical certificates: {probable} of {len(verdicts)} images"
    by_attack: Counter[str] = Counter()
    for row in results.rows:
        by_attack[row.attack] += row.broken
    broken = [verdict for verdict in verdicts if verdict.state == "broken"]
    if Counter(verdict.attack for verdict in broken) != by_attack:
        return "which attack broke how many images"
    flips = Counter({(flip.label, flip.prediction): flip.n for flip in results.flips})
    if flips and Counter((verdict.label, verdict.prediction) for verdict in broken) != flips:
        return "what the broken images are taken for"
    return ""


def _is_same(one: Figure, other: Figure) -> bool:
    pairs = ((one.value, other.value), (one.low, other.low), (one.high, other.high))
    return one.n == other.n and all(isclose(a, b, rel_tol=0.0, abs_tol=1e-9) for a, b in pairs)
