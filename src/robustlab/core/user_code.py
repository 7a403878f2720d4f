"""Runs a function of a user's file or module: ``my_file.py:make_model``, ``package.module:make_model``.

It also finds a class there, which is then a unit: ``my_file.py:MyAttack`` (`core/user_units.py`).
"""

import ast
import importlib.util
import inspect
import re
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

from torch import nn

from robustlab.core.calling import blame, calling, is_ctrl_c
from robustlab.core.errors import SetupError, did_you_mean
from robustlab.core.imports import Scope, hash_of_sources, scope_of

_REGISTERED = "robustlab_user_"
"""The prefix of the module name of a user's file that belongs to no package."""


_SLOW = 10.0
"""After this many seconds of an import the user gets a message about it."""


def is_user_code(text: str) -> bool:
    """Return whether a text means a Python file, with or without a function, or a function of a module."""
    return text.rpartition(":")[0].endswith(".py") or text.endswith(".py") or bool(_MODULE.fullmatch(text))


_MODULE = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)*:\w+")


def call(
    reference: str, note: Callable[[str], None] = lambda _: None, *, as_it_is: bool = False
) -> tuple[Any, str]:
    """Call a function of a file with no argument; return what it returns, and the hash of the file.

    A network, or any other object that is not a function, is returned unchanged. The file can import the
    modules beside it, those in the working directory, and those of its package.

    Args:
        reference: ``FILE.py:NAME``, or ``package.module:NAME``, looked for as ``python -m`` does.
        note: called with a message if the import takes long.
        as_it_is: return the function itself, without calling it.

    Raises:
        SetupError: there is no such file or name, or its code failed.
    """
    path, name, scope, module_name = _resolved(reference)
    _check_named(path, name, "function")
    # One block: settings of the file, such as the default dtype, still hold when its function is called.
    with scope.open(), _as_program(path), calling(reference):
        made = _member(_module(path, scope, module_name, note), path, name, "function")
        if callable(made) and not isinstance(made, nn.Module) and not as_it_is:
            _check_needs_nothing(made, reference)
            with _explained(f"{reference} failed"):
                made = made()
        return made, hash_of_sources(path, scope)


def find(reference: str, note: Callable[[str], None] = lambda _: None) -> Any:
    """Return the object with a name in a file, such as a class. A file is imported again if it changed.

    The arguments and errors are those of `call`.
    """
    path, name, scope, module_name = _resolved(reference)
    _check_named(path, name, "class")
    known = _imported.get((path, module_name))
    if known is not None and known.sources == hash_of_sources(path, known.scope):
        return _member(known.module, path, name, "class")
    with scope.open(), _as_program(path), calling(reference):
        module = _module(path, scope, module_name, note)
        _imported[path, module_name] = _Imported(module, scope, hash_of_sources(path, scope))
        return _member(module, path, name, "class")


class _Imported(NamedTuple):
    module: ModuleType
    scope: Scope
    sources: str


_imported: dict[tuple[Path, str], _Imported] = {}


def _module(path: Path, scope: Scope, name: str, note: Callable[[str], None]) -> ModuleType:
    with _watched(path, note), _explained(f"{path} can't be imported"):
        return scope.load(path, name)


def _check_named(path: Path, name: str, what: str) -> None:
    source = path.read_bytes()  # a permission error of the file names only the file
    if not name:
        raise SetupError(f"{path}: which {what}? Write {path}:NAME; {_offer(source)}")


def _member(module: ModuleType, path: Path, name: str, what: str) -> Any:
    if not hasattr(module, name):
        source = path.read_bytes()
        raise SetupError(
            f"{path} has no {what} {name!r}{did_you_mean(name, _functions(source))}; {_offer(source)}"
        )
    return getattr(module, name)


def _check_needs_nothing(function: Any, reference: str) -> None:
    """Refuse a function that can't be called without arguments, such as one that predicts."""
    try:
        arguments = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):  # of a compiled one
        return
    several = {inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD}
    needed = [each.name for each in arguments if each.default is each.empty and each.kind not in several]
    if needed:
        raise SetupError(
            f"{reference} needs {', '.join(needed)}, and is called without arguments; "
            f"if it predicts the classes of images, give predict({reference}) as the model"
        )


@contextmanager
def _explained(failure: str) -> Iterator[None]:
    """Turn any error of a user's file into a `SetupError`, including MemoryError and robustlab's errors."""
    try:
        yield
    except BaseException as error:
        if is_ctrl_c(error):
            raise
        hint = "; a file must not exit when it is loaded" if isinstance(error, SystemExit) else ""
        raise SetupError(f"{failure}: {blame(error)}{hint}") from error


def _resolved(reference: str) -> tuple[Path, str, Scope, str]:
    """Return the file of a reference, the name in it, its scope of imports, and its module name."""
    file, _, name = reference.rpartition(":")
    if not file.endswith(".py") and not reference.endswith(".py"):
        module = file
        scope = Scope([Path.cwd()])
        with scope.open(), _explained(f"{module} can't be imported"):  # Python runs the packages above it.
            spec = importlib.util.find_spec(module)
        if spec is None or not (spec.origin or "").endswith(".py"):
            raise SetupError(f"there is no module {module} in {Path.cwd()}, nor one that is installed")
        return Path(str(spec.origin)), name, scope, module
    if not file.endswith(".py"):
        file, name = reference, ""
    if not Path(file).is_file():
        raise SetupError(f"the file {file} does not exist")
    path = Path(file).resolve()
    module, scope = scope_of(path, _REGISTERED)
    return path, name, scope, module


@contextmanager
def _as_program(path: Path) -> Iterator[None]:
    """Hide robustlab's arguments from a file that reads the command line when it is imported."""
    before, sys.argv = sys.argv, [str(path)]
    try:
        yield
    finally:
        sys.argv = before


@contextmanager
def _watched(path: Path, note: Callable[[str], None]) -> Iterator[None]:
    text = (
        f"importing {path} has taken {_SLOW:g} s: this file runs code on import; if it trains, put that "
        "below if __name__ == '__main__':"
    )
    timer = threading.Timer(_SLOW, note, [text])
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


def _functions(source: bytes) -> list[str]:
    try:
        tree = ast.parse(source)
    except (SyntaxError, ValueError):
        return []
    return [node.name for node in tree.body if isinstance(node, ast.FunctionDef | ast.ClassDef)]


def _offer(source: bytes) -> str:
    return f"it defines: {', '.join(_functions(source)) or 'none'}"
