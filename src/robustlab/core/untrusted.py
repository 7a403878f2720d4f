"""Reads JSON that may be damaged or malicious: robustlab reads all JSON files with this module."""

import json
from pathlib import Path
from typing import Any

from pydantic_core import from_json

JSON_LIMIT = 64 * 1024**2
"""The largest JSON file that is read, in bytes. An evaluation of 50,000 images writes less than 2 MB."""


def read_bytes(path: Path, limit: int) -> bytes:
    """Return a file's content.

    Raises:
        OSError: it is missing or can't be read.
        ValueError: it is not a plain file (a pipe would never end), or has more than ``limit`` bytes.
    """
    if path.exists() and not path.is_file():
        raise ValueError("it is not a file")
    with path.open("rb") as file:
        content = file.read(limit + 1)
    if len(content) > limit:
        raise ValueError(f"it is larger than {limit:,} bytes")
    return content


def read_json(path: Path) -> Any:
    """Return what a JSON file holds; the errors are those of `read_bytes` and `parse_json`."""
    return parse_json(read_bytes(path, JSON_LIMIT))


def parse_json(content: bytes | str) -> Any:
    """Return what a JSON text holds.

    Raises:
        ValueError: it is not JSON, not UTF-8, nested more than 200 deep, or holds NaN, an integer of more
            than 4,300 digits, half a surrogate pair, or a name twice in one object.
    """
    try:
        from_json(content, allow_inf_nan=False)
    except RecursionError:  # raised instead of a ValueError near the end of Python's own stack
        raise ValueError("it is nested too deep") from None
    # That parser keeps the last of two values of one name, and has no hook to notice.
    return json.loads(content, object_pairs_hook=_object)


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) < len(pairs):
        raise ValueError("a name occurs twice in one object")
    return members
