"""Reads a finished run: results.json and the arrays of pictures it names."""

import json
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import ValidationError
from safetensors import SafetensorError
from safetensors.numpy import load_file

from robustlab.core.errors import RunError
from robustlab.core.results import SCHEMA_VERSION, Results

Pictures = NDArray[np.uint8]


class Arrays:
    """The pictures beside a results.json, read when they are asked for."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._load = cache(load_file)

    def pictures(self, file: str, name: str) -> Pictures:
        """Return an array of pictures, uint8 (M, C, H, W).

        Raises:
            RunError: the file is missing or damaged, or holds no such array.
        """
        path = self._folder / file
        try:
            arrays = self._load(path)
        except FileNotFoundError:
            raise RunError(f"{path} is missing, although results.json names it; {_AGAIN}") from None
        except (OSError, SafetensorError) as error:
            raise RunError(f"{path} cannot be read ({error}); {_AGAIN}") from error
        array = arrays.get(name)
        if array is None or array.dtype != np.uint8 or array.ndim != 4:
            raise RunError(f"{path} holds no uint8 pictures named {name!r}; {_AGAIN}")
        return array


_AGAIN = "run the study again with the same --out to restore it"


def load_results(folder: Path) -> Results:
    """Read the results.json of a run folder.

    Raises:
        RunError: it is missing, damaged, or written by a newer robustlab.
    """
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
        return Results.model_validate(content)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"])
        raise RunError(f"{path} is damaged: {place}: {first['msg']}; {_AGAIN}") from error


def _read_json(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        raise RunError(
            f"{path} not found: {path.parent} is no finished run; finish the study first, "
            "or name another folder"
        ) from None
    except OSError as error:
        raise RunError(f"{path} cannot be read: {error.strerror or error}") from error
    except ValueError as error:
        raise RunError(f"{path} is damaged: it is not valid JSON ({error}); {_AGAIN}") from error
