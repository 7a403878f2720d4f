"""Runs a function of a user's Python file: ``my_file.py:make_model``."""

import ast
import hashlib
import importlib.util
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import ModuleType
from typing import Any

from torch import nn

from robustlab.core.calling import blame, calling, is_library_file
from robustlab.core.errors import SetupError, did_you_mean

_REGISTERED = "robustlab_user_"
"""What the names of users' files begin with in `sys.modules`."""


def is_user_code(text: str) -> bool:
    """Tell whether a text means a Python file, whether or not it names a function there."""
    return text.rpartition(":")[0].endswith(".py") or text.endswith(".py")


def call(reference: str) -> tuple[Any, str]:
    """Call a function of a file with no argument; return what it returns, and the hash of the file.

    A network, or any other object that is no function, is taken as it is. Modules beside the file can be
    imported by it.

    Args:
        reference: ``FILE.py:NAME``.

    Raises:
        SetupError: there is no such file or name, or its code failed.
    """
    file, _, name = reference.rpartition(":")
    if not file.endswith(".py"):
        file, name = reference, ""
    path = Path(file)
    if not path.is_file():
        raise SetupError(f"there is no file {path}")
    source = path.read_bytes()
    if not name:
        raise SetupError(f"{path}: which function? Write {path}:NAME; {_offer(source)}")
    file_itself = path.resolve()  # before the code may change the working directory
    # One block: what the file sets, such as the default dtype, holds when its function is called.
    with _beside(path) as folder, calling(reference):
        module = _load(path)
        if not hasattr(module, name):
            raise SetupError(
                f"{path} has no function {name!r}{did_you_mean(name, _functions(source))}; {_offer(source)}"
            )
        made = getattr(module, name)
        if callable(made) and not isinstance(made, nn.Module):
            with _explained(f"{reference} failed"):
                made = made()
        return made, _hash_sources(file_itself, folder)


def _load(path: Path) -> ModuleType:
    # Registered under a name of its own: dataclasses and pickles look their module up there.
    name = _REGISTERED + path.stem
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise SetupError(f"{path} is no Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    with _explained(f"{path} can't be imported"):
        spec.loader.exec_module(module)
    return module


@contextmanager
def _explained(failure: str) -> Iterator[None]:
    """Turn all that a user's file raises into a `SetupError`, lack of memory and our own errors included."""
    try:
        yield
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        raise SetupError(f"{failure}: {blame(error)}") from error


@contextmanager
def _beside(path: Path) -> Iterator[Path]:
    """Let a file import the modules of its folder, which is yielded, as they are on the disk at this moment.

    None of them stays behind: the next file may have others of the same names, and these may be edited.
    """
    folder = path.resolve().parent
    aside = _modules_of(folder)
    for name in aside:
        del sys.modules[name]
    sys.path.insert(0, str(folder))
    try:
        yield folder
    finally:
        with suppress(ValueError):  # the file may have changed it itself
            sys.path.remove(str(folder))
        for name in _modules_of(folder):
            del sys.modules[name]
        sys.modules.update(aside)


def _modules_of(folder: Path) -> dict[str, ModuleType]:
    """Return the loaded modules of a folder that a file there could import."""
    found = {}
    for name, module in list(sys.modules.items()):
        # By the attributes themselves: some modules answer to every name.
        own = getattr(module, "__dict__", {})
        place = own.get("__file__") or next(iter(own.get("__path__") or ()), None)
        if name == "__main__" or name.startswith(_REGISTERED) or not isinstance(place, str):
            continue
        if not is_library_file(place) and Path(place).resolve().is_relative_to(folder):
            found[name] = module
    return found


def _hash_sources(path: Path, folder: Path) -> str:
    """Return the hash of the file and of the modules of its folder that it has loaded."""
    loaded = [getattr(module, "__file__", None) for module in _modules_of(folder).values()]
    files = {path} | {Path(file).resolve() for file in loaded if file and file.endswith(".py")}
    digest = hashlib.sha256()
    for file in sorted(files):
        digest.update(f"{file.relative_to(folder)}\n".encode() + file.read_bytes())
    return digest.hexdigest()


def _functions(source: bytes) -> list[str]:
    try:
        tree = ast.parse(source)
    except (SyntaxError, ValueError):
        return []
    return [node.name for node in tree.body if isinstance(node, ast.FunctionDef | ast.ClassDef)]


def _offer(source: bytes) -> str:
    return f"it defines: {', '.join(_functions(source)) or 'none'}"
