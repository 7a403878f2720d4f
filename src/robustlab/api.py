"""The two main jobs as functions: run a study with its report, and write a report anew."""

import os
from pathlib import Path

from robustlab import report
from robustlab.core.device import DeviceChoice, PrecisionChoice
from robustlab.core.progress import Progress
from robustlab.core.run import Run
from robustlab.study import StudyOptions, execute


def run_study(
    recipe: str | Path = "mnist",
    *,
    out: str | Path | None = None,
    dataset: str | None = None,
    data_root: str | Path | None = None,
    device: DeviceChoice = "auto",
    precision: PrecisionChoice = "auto",
    seed: int = 0,
    quick: bool = False,
    progress: Progress | None = None,
) -> Run:
    """Run a study, or what is left of it, and write its report.

    The same call again resumes; a changed option redoes only what depends on it.

    Args:
        recipe: a TOML file, or the name of a recipe that comes with robustlab.
        out: the run's folder; default ``runs/<recipe>``, for a quick run ``runs/<recipe>-quick``.
        dataset: ``"auto"``, ``"mnist"`` or ``"digits"``; default: what the recipe says.
        data_root: the first folder in which data is looked for.
        device: ``"auto"`` takes a GPU if there is one.
        precision: of the matrix products in training; ``"auto"`` takes bf16 where it is faster.
        seed: of every random choice.
        quick: a few epochs on a part of the images, to see everything work.
        progress: where to show progress; default nowhere.

    Returns:
        The run's folder, and every figure as in its ``results.json``.

    Raises:
        RobustlabError: bad input; see `robustlab.core.errors`. What was finished stays on the disk.
    """
    options = StudyOptions(
        recipe=os.fspath(recipe),
        out=None if out is None else os.fspath(out),
        dataset=dataset,
        data_root=None if data_root is None else os.fspath(data_root),
        device=device,
        precision=precision,
        seed=seed,
        quick=quick,
    )
    run = execute(options, progress)
    report.write_report(run.folder)
    return run


def write_report(folder: str | Path) -> Path:
    """Write the report of a finished run anew and return the path of its ``report.html``.

    Raises:
        RunError: the folder holds no finished run, or one of a newer robustlab.
    """
    return report.write_report(Path(folder))
