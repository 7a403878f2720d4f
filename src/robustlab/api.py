"""The main functions: run a study or an evaluation with its report, and write a report again."""

from pathlib import Path

from robustlab import report
from robustlab.core.arguments import as_path
from robustlab.core.options import taking
from robustlab.evaluation.coordinator import execute as execute_evaluation
from robustlab.options import EvaluationOptions, StudyOptions
from robustlab.runs.run import EvaluationRun, Run
from robustlab.study import execute as execute_study


def _run_study(options: StudyOptions) -> Run:
    """Run a study, or the rest of it, and write its report.

    The same call resumes the run; a changed option repeats only the work that depends on it.

    Returns:
        The run's folder, and all figures of its ``results.json``.

    Raises:
        RobustlabError: bad input; see `robustlab.core.errors`. Finished work stays on the disk.
    """
    run = execute_study(options)
    report.write_report(run.folder)
    return run


def _evaluate(options: EvaluationOptions) -> EvaluationRun:
    """Measure how robust a classifier is, image by image, and write the report.

    The same call resumes the run. More images, or another attack, repeat no earlier work.

    Returns:
        The run's folder, and all figures of its ``results.json``.

    Raises:
        RobustlabError: bad input; see `robustlab.core.errors`. Finished work stays on the disk.
    """
    run = execute_evaluation(options)
    report.write_report(run.folder)
    return run


run_study = taking(StudyOptions, _run_study, "run_study")
evaluate = taking(EvaluationOptions, _evaluate, "evaluate")


def write_report(folder: str | Path) -> Path:
    """Write the report of a finished run again and return the path of its ``report.html``.

    Raises:
        RunError: the folder holds no finished run, or one of a newer robustlab.
    """
    return report.write_report(as_path("folder", folder))
