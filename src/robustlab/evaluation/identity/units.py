"""Describes the code of units that are not robustlab's, for the keys of their results."""

import functools
import sys
from collections.abc import Iterator
from dataclasses import is_dataclass
from pathlib import Path

from robustlab.core.installed import is_library, is_robustlabs
from robustlab.core.spec import Unit
from robustlab.evaluation.identity.description import describe_classes
from robustlab.runs.ledger import digest


def identity_of(unit: Unit) -> str:
    """Return a unit's spec, with the hash of its code if that is not robustlab's."""
    return f"{unit!r}{code_of(unit)}"


def code_of(*parts: object) -> str:
    """Return the hash of the code of units and of their arguments, behind a space.

    The units may be in tuples and dataclasses.

    Empty if all of it is robustlab's, whose hash is in the evaluation's key.
    """
    return code_of_classes(*(type(part) for part in _nested(parts)))


def code_of_classes(*classes: type) -> str:
    """Return what `code_of` returns for units of these classes without arguments."""
    kinds = {kind for part in classes for kind in part.__mro__}
    others = {kind for kind in kinds if not is_robustlabs(kind)}
    # For an installed package the files count, which change with an update.
    installed = {kind.__module__ for kind in others if issubclass(kind, Unit) and is_library(kind)}
    source = "\n".join([describe_classes(others), *sorted(map(_sources, installed))]).strip()
    return source and f" {digest(source)}"


def _nested(value: object) -> Iterator[Unit]:
    """Yield a unit, the units among its arguments, in tuples too, and their arguments in turn."""
    if isinstance(value, Unit):
        yield value
    if is_dataclass(value):
        value = tuple(vars(value).values())
    for part in value if isinstance(value, tuple) else ():
        yield from _nested(part)


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
