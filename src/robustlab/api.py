"""The main jobs as functions: a study, an evaluation or a training with its report; a report again."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

from robustlab import report
from robustlab.certify_options import CertifyOptions
from robustlab.core.arguments import as_path
from robustlab.core.options import taking
from robustlab.evaluation.coordinator import execute as execute_evaluation
from robustlab.evaluation_run import EvaluationRun, with_methods
from robustlab.options import EvaluationOptions, StudyOptions
from robustlab.runs.run import EvaluationFolder, Run, TrainingRun
from robustlab.study import execute as execute_study
from robustlab.study import execute_training
from robustlab.training_options import TrainOptions

RunT = TypeVar("RunT", Run, EvaluationFolder, TrainingRun)
OptionsT = TypeVar("OptionsT", bound=Any)


@taking(StudyOptions)
def run_study(options: StudyOptions) -> Run:
    """Run a study, or the rest of it, and write its report.

    The same call resumes the run; a changed option repeats only the work that depends on it.

    Returns:
        The run's folder, and all figures of its ``results.json``.

    Raises:
        RobustlabError: bad input; see `robustlab.core.errors`. Finished work stays on the disk.
    """
    with shown_progress(options) as shown:
        return reported(execute_study(shown))


@taking(EvaluationOptions)
def evaluate(options: EvaluationOptions) -> EvaluationRun:
    """Measure how robust a classifier is, image by image, and write the report.

    The same call resumes the run. More images, or another attack, repeat no earlier work.

    Returns:
        The run's folder, and all figures of its ``results.json``.

    Raises:
        RobustlabError: bad input; see `robustlab.core.errors`. Finished work stays on the disk.
    """
    with shown_progress(options) as shown:
        return with_methods(reported(execute_evaluation(shown)))


@taking(CertifyOptions)
def certify_model(options: CertifyOptions) -> EvaluationRun:
    """Prove, image by image, that no attack within a threat model can succeed, without an attack.

    The same call resumes the run. More images, or another certifier, repeat no earlier work.

    Returns:
        The run's folder, and all figures of its ``results.json``.

    Raises:
        RobustlabError: bad input, or the certifier can't bound the classifier; the message names the layer.
    """
    with shown_progress(options) as shown:
        return with_methods(reported(execute_evaluation(shown)))


@taking(TrainOptions)
def train(options: TrainOptions) -> TrainingRun:
    """Train one network, or go on where it was stopped, and write its card and its report.

    The same call again resumes after the last finished epoch, with the same result.

    Returns:
        The run's folder, the card, the file of the weights, and every figure as in its ``results.json``.

    Raises:
        RobustlabError: bad input, or the training diverged. What was finished stays on the disk.
    """
    with shown_progress(options) as shown:
        return reported(execute_training(shown))


@contextmanager
def shown_progress(options: OptionsT) -> Iterator[OptionsT]:
    """Yield the options; in a notebook they show progress below the cell, unless the caller chose a place."""
    if options.progress is None and "IPython" in sys.modules:
        from robustlab.cli.terminal import TerminalProgress

        progress = TerminalProgress(quiet=False)
        if progress.console.is_jupyter:
            with progress:
                yield replace(options, progress=progress)
            return
    yield options


def reported(run: RunT) -> RunT:
    """Write the report of a finished run, and return the run."""
    report.write_report(run.folder)
    return run


def write_report(folder: str | Path) -> Path:
    """Write the report of a finished run again and return the path of its ``report.html``.

    Raises:
        RunError: the folder holds no finished run, or one of a newer robustlab.
    """
    return report.write_report(as_path("folder", folder))
