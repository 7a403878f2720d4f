"""Describes the code of units that are not robustlab's, for the keys of their results."""

import functools
import sys
from collections.abc import Iterator
from pathlib import Path

from robustlab.core.installed import is_library
from robustlab.core.spec import Unit
from robustlab.evaluation.identity.description import describe_classes
from robustlab.runs.ledger import digest


def code_of(unit: Unit) -> str:
    """Return the hash of a unit's code and of that of its arguments, behind a space.

    Empty if all of it is robustlab's, whose hash is in a problem's key.
    """
    kinds = {kind for part in _nested(unit) for kind in type(part).__mro__}
    others = {kind for kind in kinds if not kind.__module__.startswith("robustlab.")}
    # For an installed package the files count, which change with an update.
    installed = {kind.__module__ for kind in others if issubclass(kind, Unit) and is_library(kind)}
    source = "\n".join([describe_classes(others), *sorted(map(_sources, installed))]).strip()
    return source and f" {digest(source)}"


def _nested(unit: Unit) -> Iterator[Unit]:
    """Return a unit, the units among its arguments, and their arguments in turn."""
    yield unit
    for value in vars(unit).values():
        if isinstance(value, Unit):
            yield from _nested(value)


@functools.cache
def _sources(name: str) -> str:
    """Return the hash of the Python files of the package that a module belongs to, or of the module's own."""
    module, package = sys.modules.get(name), sys.modules.get(name.partition(".")[0])
    if package is not None and getattr(package, "__file__", None):
        folders = [Path(folder) for folder in getattr(package, "__path__", [])]
        files = [file for folder in folders for file in sorted(folder.rglob("*.py"))]
        files = files or [Path(str(package.__file__))]
    else:  # of a namespace that several packages share
        files = [Path(str(file))] if (file := getattr(module, "__file__", None)) else []
    return digest(name, [[file.name, file.read_bytes().hex()] for file in files])
