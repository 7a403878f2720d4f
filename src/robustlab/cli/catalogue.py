"""Reads robustlab's own units from their source files, without loading torch.

For each registered unit `own_units` makes a class with its docstring, its fields and, for a check, its texts.
Names are looked up in the files too. If a name is not defined by an assignment, an import or a class, the
module is imported, which is slower.
"""

import ast
import copy
import dataclasses
import functools
import importlib
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from robustlab.core.installed import is_robustlabs
from robustlab.core.spec import Unit

_PACKAGE = Path(__file__).parents[1]
_CORE = "robustlab.core"
_REGISTERED = re.compile(r'^@register\("\w+"\)\nclass (\w+)', re.MULTILINE)
_TEXTS = {"kind", "id", "title", "expected", "meaning", "summary", "__get__", "norms", "needs_gradient"}
"""The attributes of a class that are kept, besides its docstring and its fields."""


def own_units() -> list[type[Unit]]:
    """Return a class for each registered unit of robustlab, by kind and name."""
    units: list[type[Unit]] = []
    for path in _PACKAGE.rglob("*.py"):
        module = ".".join(["robustlab", *path.relative_to(_PACKAGE).with_suffix("").parts])
        names = _REGISTERED.findall(path.read_text(encoding="utf-8"))
        units += [_value(module, name) for name in names]
    return sorted(units, key=lambda unit: (unit.kind, unit.name))


def forget() -> None:
    """Drop the syntax trees: with them the process takes long to end."""
    for cached in (_definitions, _tree):
        cached.cache_clear()


def source(kind: type) -> tuple[ast.Module, ast.stmt] | None:
    """Return the syntax trees of robustlab's file that defines a class, and of the class, if there is one."""
    if not is_robustlabs(kind):
        return None
    return _tree(kind.__module__), _definitions(kind.__module__)[kind.__name__]


@functools.cache
def _tree(module: str) -> ast.Module:
    path = _PACKAGE.joinpath(*module.split(".")[1:])
    file = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
    return ast.parse(file.read_bytes())


@functools.cache
def _definitions(module: str) -> dict[str, ast.stmt]:
    return {name: node for node in _tree(module).body for name in _defined(node)}


def _defined(node: ast.stmt) -> set[str]:
    match node:
        case ast.Import(names=names) | ast.ImportFrom(names=names):
            return {alias.asname or alias.name for alias in names}
        case ast.ClassDef(name=name) | ast.FunctionDef(name=name):
            return {name}
        case ast.Assign(targets=[target]) | ast.AnnAssign(target=target):
            return _names(target, ast.Store)
    return set()


def _names(node: ast.AST, use: type[ast.expr_context]) -> set[str]:
    return {part.id for part in ast.walk(node) if isinstance(part, ast.Name) and isinstance(part.ctx, use)}


@functools.cache
def _value(module: str, name: str) -> Any:
    """Return the value of a name in a module."""
    core = module == _CORE or module.startswith(f"{_CORE}.")
    if core and name == "register":
        return _register
    # The core loads fast, and `Unit` must be the real class.
    own = module.startswith("robustlab.") and not core
    node = _definitions(module).get(name) if own else None
    if isinstance(node, ast.ImportFrom) and node.module:
        return _value(node.module, next(n.name for n in node.names if name in (n.asname, n.name)))
    if node is None or isinstance(node, ast.Import | ast.ImportFrom):
        return getattr(importlib.import_module(module), name)
    if isinstance(node, ast.ClassDef):
        node = copy.copy(node)
        node.body = [member for member in node.body if _is_kept(member)]
    used = _names(node, ast.Load) & _definitions(module).keys()
    if isinstance(node, ast.FunctionDef) and used:  # rarely called
        return lambda *args: getattr(importlib.import_module(module), name)(*args)
    values = {"__name__": module} | {other: _value(module, other) for other in used}
    exec(compile(ast.Module([node], []), module, "exec"), values)
    return values[name]


def _is_kept(member: ast.stmt) -> bool:
    if isinstance(member, ast.AnnAssign) and "ClassVar" not in ast.unparse(member.annotation):
        return True
    return isinstance(member, ast.Expr) or bool(_defined(member) & _TEXTS)


def _register(name: str) -> Callable[[type[Unit]], type[Unit]]:
    """Do the visible part of `register`."""

    def decorate(cls: type[Unit]) -> type[Unit]:
        cls.name = name
        return dataclasses.dataclass(kw_only=True, repr=False, eq=False)(cls)

    return decorate
