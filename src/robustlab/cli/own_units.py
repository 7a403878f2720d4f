"""The descriptions of robustlab's own units, kept in the user's cache folder.

To make them takes longer than all else that `ls` does. They follow from robustlab's source files and from
Python, so they are kept with a hash of these, which is computed at every call: a changed or a new file is
seen at once. The hash covers the descriptions too: a damaged file is made again.
"""

import contextlib
import hashlib
import json
import sys
from pathlib import Path
from typing import Any

import platformdirs

from robustlab.core.errors import OutputError
from robustlab.core.files import write_text

_PACKAGE = Path(__file__).parents[1]


def own_units() -> list[dict[str, Any]]:
    """Return ``listed`` and ``described`` of each registered unit of robustlab, as `describe` makes them."""
    sources, file = _sources(), _file()
    with contextlib.suppress(OSError, UnicodeDecodeError):
        digest, _, text = file.read_text(encoding="utf-8").partition("\n")
        if digest == _digest(sources, text):
            return list(json.loads(text))
    from robustlab.cli import catalogue, describe  # they load pydantic

    units = catalogue.own_units()
    text = json.dumps([{"listed": describe.listed(u), "described": describe.described(u)} for u in units])
    catalogue.forget()
    if _sources() == sources:  # nobody edited a file meanwhile
        with contextlib.suppress(OSError, OutputError):
            file.parent.mkdir(parents=True, exist_ok=True)
            write_text(file, f"{_digest(sources, text)}\n{text}")
    return list(json.loads(text))


def _file() -> Path:
    """Return where the descriptions of this copy of robustlab are kept."""
    return platformdirs.user_cache_path("robustlab") / f"units-{_digest(str(_PACKAGE))[:16]}.json"


def _sources() -> str:
    """Return a hash of what the descriptions follow from."""
    files = sorted(_PACKAGE.rglob("*.py"))
    names = [str(file.relative_to(_PACKAGE)) for file in files]
    return _digest(sys.version, *names, *(hashlib.sha256(file.read_bytes()).hexdigest() for file in files))


def _digest(*texts: str) -> str:
    return hashlib.sha256("\0".join(texts).encode()).hexdigest()
