"""robustlab's own units as their source files describe them, so that nobody waits for torch.

Of each registered unit `own_units` makes a class with what can be said of it: docstring, fields, and the texts
of a check. Names in there are looked up in the files too. Where that takes more than an import, an assignment
or a class, the module is imported: slow, and right.
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

from robustlab.core.spec import Unit

_PACKAGE = Path(__file__).parents[1]
_REGISTERED = re.compile(r'^@register\("(\w+)"\)\nclass (\w+)', re.MULTILINE)
_TEXTS = {"kind", "id", "title", "expected", "meaning", "summary", "__get__"}
"""What is kept of a class beside its docstring and its fields."""


def own_units(name: str = "") -> list[type[Unit]]:
    """Return a class for each registered unit of robustlab, or only for those of a name."""
    found = []
    for path in _PACKAGE.rglob("*.py"):
        module = ".".join(["robustlab", *path.relative_to(_PACKAGE).with_suffix("").parts])
        for registered, kind in _REGISTERED.findall(path.read_text(encoding="utf-8")):
            if name.replace("-", "_") in {"", registered}:
                found.append(_value(module, kind))
    for cached in (_definitions, _tree):  # with them the process takes longer to end than to list
        cached.cache_clear()
    return sorted(found, key=lambda unit: (unit.kind, unit.name))


def is_own(kind: type) -> bool:
    """Tell whether a class is defined in a file of robustlab."""
    return kind.__module__.startswith("robustlab.")


def source(kind: type) -> tuple[ast.Module, ast.stmt]:
    """Return the syntax tree of robustlab's file that defines a class, and of the class."""
    return _tree(kind.__module__), _definitions(kind.__module__)[kind.__name__]


@functools.cache
def _tree(module: str) -> ast.Module:
    path = _PACKAGE.joinpath(*module.split(".")[1:])
    file = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
    return ast.parse(file.read_bytes())


@functools.cache
def _definitions(module: str) -> dict[str, ast.stmt]:
    """Return the statement that defines each name of a module, where it is a plain one."""
    found: dict[str, ast.stmt] = {}
    for node in _tree(module).body:
        match node:
            case ast.Import() | ast.ImportFrom():
                found |= {alias.asname or alias.name: node for alias in node.names}
            case ast.ClassDef(name=name) | ast.FunctionDef(name=name):
                found[name] = node
            case ast.Assign() | ast.AnnAssign():
                targets = node.targets if isinstance(node, ast.Assign) else [node.target]
                found |= {name: node for target in targets for name in _named(target, ast.Store)}
    return found


def _named(node: ast.AST, use: type[ast.expr_context]) -> set[str]:
    return {part.id for part in ast.walk(node) if isinstance(part, ast.Name) and isinstance(part.ctx, use)}


@functools.cache
def _value(module: str, name: str) -> Any:
    """Return what a name means in a module."""
    if (module, name) == (Unit.__module__, "register"):
        return _register
    # The core loads little, and `Unit` must be the real one.
    own = module.startswith("robustlab.") and not module.startswith("robustlab.core.")
    node = _definitions(module).get(name) if own else None
    if isinstance(node, ast.ImportFrom) and node.module:
        return _value(node.module, next(n.name for n in node.names if name in (n.asname, n.name)))
    if node is None or isinstance(node, ast.Import | ast.ImportFrom):
        return getattr(importlib.import_module(module), name)
    node = _stripped(node)
    used = _named(node, ast.Load) & _definitions(module).keys()
    if isinstance(node, ast.FunctionDef) and used:  # seldom called
        return lambda *args: getattr(importlib.import_module(module), name)(*args)
    values = {"__name__": module} | {other: _value(module, other) for other in used}
    exec(compile(ast.Module([node], []), module, "exec"), values)
    return values[name]


def _stripped(node: ast.stmt) -> ast.stmt:
    """Return a class without what says nothing of a unit."""
    if isinstance(node, ast.ClassDef):
        body = [member for number, member in enumerate(node.body) if _is_kept(member, first=not number)]
        node = copy.copy(node)
        node.body = body or [ast.copy_location(ast.Pass(), node)]
    return node


def _is_kept(member: ast.stmt, *, first: bool) -> bool:
    match member:
        case ast.Expr():
            return first
        case ast.FunctionDef(name=name) | ast.Assign(targets=[ast.Name(id=name)]):
            return name in _TEXTS
        case ast.AnnAssign(target=ast.Name(id=name), annotation=annotation):
            return name in _TEXTS or not ast.unparse(annotation).startswith("ClassVar")
    return False


def _register(name: str) -> Callable[[type[Unit]], type[Unit]]:
    """Do of `register` what can be seen from outside."""

    def decorate(cls: type[Unit]) -> type[Unit]:
        cls.name = name
        return dataclasses.dataclass(kw_only=True, repr=False, eq=False)(cls)

    return decorate
