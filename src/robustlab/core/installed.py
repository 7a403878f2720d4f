"""Distinguishes library code from the user's own code: installed packages from files in development."""

import re
import sys
import sysconfig
from functools import cache
from importlib.metadata import distributions
from importlib.util import find_spec
from pathlib import Path
from typing import Any

_LIBRARIES = (
    *(sysconfig.get_path(kind) for kind in ("stdlib", "purelib", "platlib")),
    *(str(Path(str(spec.origin)).parent) for name in ("robustlab", "torch") if (spec := find_spec(name))),
    "<frozen",
)


@cache
def is_library_file(file: str) -> bool:
    """Return whether a file belongs to Python or to an installed package; also True for no file.

    A package is installed where a distribution's RECORD lists it, in whichever folder (``pip install
    --target``). No RECORD lists the files of an editable install. The user edits them, so they count as the
    user's own.
    """
    path = Path(file)
    if not file or {"site-packages", "dist-packages"} & set(path.parts) or file.startswith(_LIBRARIES):
        return True
    return any(_lists(folder, path.relative_to(folder).parts[0]) for folder in path.parents)


def is_robustlabs(code: type) -> bool:
    """Return whether a class is one of robustlab's own."""
    return code.__module__.startswith("robustlab.")


def is_library(code: Any) -> bool:
    """Return whether a class or a function belongs to Python or to an installed package."""
    name = getattr(code, "__module__", None) or ""
    if not isinstance(name, str):  # of a class that was compiled
        return True
    # Code typed into a console has no file, and code from a user's file may no longer be in `sys.modules`.
    file = getattr(sys.modules.get(name), "__file__", None) or "<console>"
    return name.partition(".")[0] in sys.stdlib_module_names or is_library_file(file)


@cache
def _lists(folder: Path, name: str) -> bool:
    """Return whether a distribution installed in a folder lists a package or a module of this name."""
    listed = re.compile(rf"^{re.escape(name)}[/\\,]", re.MULTILINE)
    try:
        return any(
            listed.search(match.read_text("RECORD") or "") for match in distributions(path=[str(folder)])
        )
    except OSError:  # an unreadable folder contains no importable module
        return False
