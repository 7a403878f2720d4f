"""A finished evaluation, with its verdict on each image."""

from dataclasses import dataclass
from pathlib import Path

from robustlab.core.arguments import as_path
from robustlab.core.errors import RunError
from robustlab.core.evaluation import Evaluation
from robustlab.core.run import EvaluationRun, load_run
from robustlab.evaluation.engine.verdicts import Verdict, read_verdicts


@dataclass(frozen=True, kw_only=True)
class Finished:
    """What `compare` and `gate` read of an evaluation."""

    folder: Path
    results: Evaluation
    verdicts: list[Verdict]


def read_finished(run: str | Path | EvaluationRun) -> Finished:
    """Read a finished evaluation from its folder.

    Raises:
        RunError: the folder holds none, one that was begun again and did not end, or files that disagree.
    """
    folder = run.folder if isinstance(run, EvaluationRun) else as_path("run", run)
    found = load_run(folder)
    if not isinstance(found, EvaluationRun):
        raise RunError(f"{folder} holds a study; an evaluation is needed (robustlab evaluate)")
    results, verdicts = found.results, read_verdicts(folder)
    robust = sum(verdict.robust for verdict in verdicts)
    if len(verdicts) != results.robust.n or abs(robust - results.robust.value * results.robust.n) > 0.5:
        raise RunError(f"{folder}: images.csv and results.json do not agree; run the same command again")
    return Finished(folder=folder, results=results, verdicts=verdicts)
