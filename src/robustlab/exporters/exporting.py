"""Exports a finished run."""

import os
import re
from pathlib import Path

from robustlab.core.arguments import as_path, check_kind
from robustlab.core.spec import parse
from robustlab.exporters.base import Exporter, FinishedRun
from robustlab.runs.run import EvaluationFolder, Run, load_run

_WITH_HYPHENS = re.compile(r"[a-z]+(-[a-z]+)+(?=\(|$)")


def export(run: str | Path | FinishedRun, to: str | Exporter, out: str | Path | None = None) -> str:
    """Give a finished run to another program, from its results.json alone.

    Args:
        run: the folder of an evaluation, a training or a study, or what the function that ran it returned.
        to: ``mlflow``, ``tensorboard``, ``wandb``, ``hf-card``, ``junit``, or an exporter with arguments,
            such as ``mlflow(experiment=robustlab)``; `robustlab ls exporters` lists all.
        out: a file, a folder or an address, as the exporter says; default: where the program expects it.

    Returns:
        Where it was written. Of ``hf-card`` and ``junit`` without ``out``: the text.

    Raises:
        RobustlabError: the folder holds no finished run, the exporter is unknown, its package is not
            installed, or the run could not be written.
    """
    exporter = as_exporter(to)
    if out is not None:
        check_kind("out", out, str | os.PathLike, "a text or a path")
        as_path("out", out)
    finished = run if isinstance(run, Run | EvaluationFolder) else load_run(as_path("run", run))
    return exporter.export(finished, None if out is None else str(out))


def as_exporter(to: str | Exporter) -> Exporter:
    """Return an exporter from itself, its spec, or a class in a user's file: ``my.py:MyExporter``.

    Raises:
        SpecError, SetupError: it is none of these, or the spec has a mistake.
    """
    if isinstance(to, Exporter):
        return to
    check_kind("to", to, str, "an exporter or its spec, such as mlflow")
    if match := _WITH_HYPHENS.match(to):
        to = match[0].replace("-", "_") + to[match.end() :]
    if ":" not in to:
        return parse(Exporter, to)
    from robustlab.core.user_units import parse_trusted  # loads torch

    return parse_trusted(Exporter, to)
