"""Runs a function of a user's Python file: ``my_file.py:make_model``."""

import ast
import hashlib
import importlib.util
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

from robustlab.core.errors import SetupError, did_you_mean


def is_user_code(text: str) -> bool:
    """Tell whether a text means a Python file, whether or not it names a function there."""
    return text.rpartition(":")[0].endswith(".py") or text.endswith(".py")


def call(reference: str) -> tuple[Any, str]:
    """Call a function of a file with no argument; return what it returns, and the hash of the file.

    Modules beside the file can be imported by it.

    Args:
        reference: ``FILE.py:FUNCTION``.

    Raises:
        SetupError: there is no such file or function, or its code failed.
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
    with _beside(path):
        module = _load(path)
        function = getattr(module, name, None)
        if not callable(function):
            raise SetupError(
                f"{path} has no function {name!r}{did_you_mean(name, _functions(source))}; {_offer(source)}"
            )
        try:
            made = function()
        except (Exception, SystemExit) as error:
            raise SetupError(f"{reference} failed: {_blame(error, path)}") from error
    return made, _hash_sources(path)


def _load(path: Path) -> ModuleType:
    # Registered under a name of its own: dataclasses and pickles look their module up there.
    name = f"robustlab_user_{path.stem}"
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise SetupError(f"{path} is no Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:
        raise SetupError(f"{path} can't be imported: {_blame(error, path)}") from error
    return module


@contextmanager
def _beside(path: Path) -> Iterator[None]:
    folder = str(path.resolve().parent)
    sys.path.insert(0, folder)
    try:
        yield
    finally:
        sys.path.remove(folder)


def _hash_sources(path: Path) -> str:
    """Return the hash of the file and of the modules beside it that are loaded."""
    folder = path.resolve().parent
    files = {path.resolve()}
    for module in list(sys.modules.values()):
        file = getattr(module, "__file__", None)
        if (
            file
            and file.endswith(".py")
            and Path(file).is_relative_to(folder)
            and "site-packages" not in file
        ):
            files.add(Path(file))
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


def _blame(error: BaseException, path: Path) -> str:
    """Say what went wrong, and in which line of the user's file."""
    text = f"{type(error).__name__}: {error}".rstrip(": ")
    lines = [
        frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == str(path)
    ]
    return f"{text} (line {lines[-1]})" if lines else text
