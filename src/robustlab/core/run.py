"""A finished run, read back from its folder."""

import json
from dataclasses import dataclass
from pathlib import Path

import pydantic

from robustlab.core.errors import RunError
from robustlab.core.results import SCHEMA_VERSION, Results


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
        RunError: the folder holds no finished run, or one of a newer robustlab.
    """
    folder = Path(folder)
    path = folder / "results.json"
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise RunError(f"{folder} holds no finished run (there is no {path.name} in it)") from None
    except (OSError, ValueError) as error:
        raise RunError(f"{path} can't be read: {error}") from None
    version = content.get("schema_version") if isinstance(content, dict) else None
    if isinstance(version, int) and version > SCHEMA_VERSION:
        raise RunError(
            f"{path} was written by a newer robustlab (schema {version}, this one reads up to "
            f"{SCHEMA_VERSION}); upgrade robustlab"
        )
    try:
        return Run(folder=folder, results=Results.model_validate(content))
    except pydantic.ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"])
        raise RunError(f"{path} is no results file of robustlab: {place}: {first['msg']}") from None
