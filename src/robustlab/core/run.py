"""A finished run, of a study or an evaluation, read back from its folder."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pydantic

from robustlab.core.errors import RunError
from robustlab.core.evaluation import EVALUATION_SCHEMA_VERSION, Evaluation
from robustlab.core.results import SCHEMA_VERSION, Results

_AGAIN = "run the same command again with the same --out to restore it"


@dataclass(frozen=True, kw_only=True)
class Run:
    """A finished run of a study.

    Attributes:
        folder: where it lies.
        results: every figure.
    """

    folder: Path
    results: Results


@dataclass(frozen=True, kw_only=True)
class EvaluationRun:
    """A finished run of an evaluation.

    Attributes:
        folder: where it lies.
        results: every figure.
    """

    folder: Path
    results: Evaluation


def load_run(folder: str | Path) -> Run | EvaluationRun:
    """Read a finished run, of a study or of an evaluation.

    Raises:
        RunError: the folder holds no finished run, or a damaged one, or one of a newer robustlab.
    """
    results = load_results(folder)
    if isinstance(results, Evaluation):
        return EvaluationRun(folder=Path(folder), results=results)
    return Run(folder=Path(folder), results=results)


def load_results(folder: str | Path) -> Results | Evaluation:
    """Read the results of a finished run, whichever kind it is of.

    A run that was begun again keeps its old results until it ends; these are not read.

    Raises:
        RunError: the folder holds no finished run, or a damaged one, or one of a newer robustlab.
    """
    path = Path(folder) / "results.json"
    content = _read_json(path)
    version = content.get("schema_version") if isinstance(content, dict) else None
    if not isinstance(version, int) or version < 1:
        raise RunError(f"{path} is not the results of a robustlab run: it has no schema_version; {_AGAIN}")
    # A study's results name no kind.
    evaluation = content.get("kind") == "evaluation"
    newest = EVALUATION_SCHEMA_VERSION if evaluation else SCHEMA_VERSION
    if version > newest:
        raise RunError(
            f"{path} was written by a newer robustlab: its schema_version is {version}, and this one reads "
            f"up to {newest}; upgrade robustlab, then try again"
        )
    try:
        found = Evaluation.model_validate(content) if evaluation else Results.model_validate(content)
    except pydantic.ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"])
        raise RunError(f"{path} is damaged: {place}: {first['msg']}; {_AGAIN}") from None
    if not (path.parent / "manifest.json").exists():
        kind = "an evaluation" if evaluation else "a study"
        raise RunError(f"{path.parent} holds {kind} that did not end; run the same command again")
    return found


def _read_json(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        raise RunError(
            f"{path} not found: {path.parent} holds no finished run; finish it first, or name another folder"
        ) from None
    except OSError as error:
        raise RunError(f"{path} cannot be read: {error.strerror or error}") from error
    except ValueError as error:
        raise RunError(f"{path} is damaged: it is not valid JSON ({error}); {_AGAIN}") from error
