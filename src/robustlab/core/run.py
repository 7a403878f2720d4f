"""A finished run, read back from its folder."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pydantic

from robustlab.core.errors import RunError
from robustlab.core.results import SCHEMA_VERSION, Results

_AGAIN = "run the study again with the same --out to restore it"


@dataclass(frozen=True, kw_only=True)
class Run:
    """A finished run.

    Attributes:
        folder: where it lies.
        results: every figure.
    """

    folder: Path
    results: Results


def load_run(folder: str | Path) -> Run:
    """Read a finished run.

    Raises:
        RunError: the folder holds no finished run, or a damaged one, or one of a newer robustlab.
    """
    folder = Path(folder)
    path = folder / "results.json"
    content = _read_json(path)
    version = content.get("schema_version") if isinstance(content, dict) else None
    if not isinstance(version, int) or version < 1:
        raise RunError(f"{path} is not the results of a robustlab study: it has no schema_version; {_AGAIN}")
    if version > SCHEMA_VERSION:
        raise RunError(
            f"{path} was written by a newer robustlab: its schema_version is {version}, and this one reads "
            f"up to {SCHEMA_VERSION}; upgrade robustlab, then try again"
        )
    try:
        return Run(folder=folder, results=Results.model_validate(content))
    except pydantic.ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"])
        raise RunError(f"{path} is damaged: {place}: {first['msg']}; {_AGAIN}") from None


def _read_json(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        raise RunError(
            f"{path} not found: {path.parent} holds no finished run; finish the study first, "
            "or name another folder"
        ) from None
    except OSError as error:
        raise RunError(f"{path} cannot be read: {error.strerror or error}") from error
    except ValueError as error:
        raise RunError(f"{path} is damaged: it is not valid JSON ({error}); {_AGAIN}") from error
