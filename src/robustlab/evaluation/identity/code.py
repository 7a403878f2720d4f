"""The compiled form of a user's code, and the names in it."""

import contextlib
import dis
import functools
import importlib.util
import inspect
from pathlib import Path
from types import CodeType
from typing import Any

from robustlab.core.installed import is_library_file
from robustlab.evaluation.identity.tensors import digest

_SETTINGS = {".json", ".yaml", ".yml", ".toml", ".ini", ".cfg", ".npy", ".npz", ".pt", ".pth", ".pkl"}
"""Suffixes of files with settings; files that code writes, such as logs, have other ones."""

_LONGEST, _LARGEST = 200, 1 << 30


@functools.cache
def compiled(code: CodeType) -> str:
    """Return the compiled code of a function, without comments and line numbers."""
    inner = [compiled(item) if isinstance(item, CodeType) else _constant(item) for item in code.co_consts]
    return digest(f"{code.co_code.hex()} {code.co_exceptiontable.hex()} {code.co_names} {inner}".encode())


def _constant(value: object) -> str:
    # The order of a set differs between processes.
    return repr(sorted(map(repr, value))) if isinstance(value, frozenset) else repr(value)


def functions_of(member: Any) -> list[Any]:
    """Return the functions of a class member: itself, or those of a property or a class method."""
    places = ("__func__", "fget", "fset", "func", "__wrapped__")
    members = [member, *(getattr(member, place, None) for place in places if not inspect.isclass(member))]
    return [item for item in members if inspect.isfunction(item)]


def names_in(code: CodeType) -> set[str]:
    """Return the names in code, also texts (for getattr), and those of functions inside it."""
    codes = _with_inner(code)
    texts = {item for one in codes for item in one.co_consts if isinstance(item, str)}
    return texts.union(*(one.co_names for one in codes))


def files_in(code: CodeType) -> list[Path]:
    """Return the files that code names: modules, and files with settings.

    They are looked for beside the code and in the working directory.
    """
    files: set[Path] = set()
    for text in names_in(code):
        if Path(text).suffix in _SETTINGS and len(text) < _LONGEST:
            for folder in (Path(code.co_filename).parent, Path()):
                with contextlib.suppress(OSError, ValueError):
                    if (folder / text).is_file() and (folder / text).stat().st_size < _LARGEST:
                        files.add((folder / text).resolve())
    for name in _arguments(code, "IMPORT_NAME"):
        files.update(_files_of(name))
    return sorted(path for path in files if path.is_file())


def _files_of(module: str) -> list[Path]:
    """Return a user's files that the import of a module runs. The search imports nothing."""
    top, *rest = module.split(".")
    try:
        spec = importlib.util.find_spec(top)
    except (ImportError, ValueError):
        return []
    if spec is None or not spec.origin or is_library_file(spec.origin):
        return []
    below = Path(*(spec.submodule_search_locations or [""])[:1], *rest)
    return (
        [Path(spec.origin), below.with_suffix(".py"), below / "__init__.py"] if rest else [Path(spec.origin)]
    )


def _with_inner(code: CodeType) -> list[CodeType]:
    """Return code, and the code of the functions inside it."""
    codes = [code]
    for one in codes:
        codes += [item for item in one.co_consts if isinstance(item, CodeType)]
    return codes


def _arguments(code: CodeType, *operations: str) -> set[str]:
    """Return the arguments of these operations in code and in the functions inside it."""
    steps = (step for one in _with_inner(code) for step in dis.get_instructions(one))
    return {str(step.argval) for step in steps if step.opname in operations}


def variables_in(code: CodeType) -> set[str]:
    """Return which of `names_in` can be variables of the module that contains the code."""
    names = names_in(code)
    return names if "globals" in names else _arguments(code, "LOAD_GLOBAL", "LOAD_NAME")
