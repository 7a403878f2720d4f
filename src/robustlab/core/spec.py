"""Units and their spec strings: ``pgd(steps=40)`` is a repr, an argument, a TOML value and a cache key.

A unit is a frozen, keyword-only dataclass of hyper-parameters. It belongs to a kind (its base class:
attack, threat, model, ...) and registers itself there under a short name. Its repr is its spec, so
``parse(Attack, repr(attack)) == attack`` for every unit.
"""

import ast
import contextlib
import dataclasses
import importlib.metadata
import inspect
import keyword
import re
import warnings
from collections.abc import Callable, Mapping
from typing import (
    Annotated,
    Any,
    ClassVar,
    TypeVar,
    cast,
    dataclass_transform,
    get_args,
    get_type_hints,
)

import pydantic
from pydantic import Field
from pydantic.dataclasses import dataclass as checked_dataclass

from robustlab.core.aliases import current, ours
from robustlab.core.construction import argument_names, by_name, with_clear_errors
from robustlab.core.errors import SpecError, did_you_mean, offer
from robustlab.core.text import shown, spelled

PixelLength = Annotated[float, Field(ge=0.0, le=1.0, allow_inf_nan=False)]
"""A length on the pixel scale [0, 1], such as a Linf eps or a standard deviation."""

PixelDistance = Annotated[float, Field(ge=0.0, allow_inf_nan=False)]
"""A distance summed over pixels, such as an L2 eps, which may exceed 1."""

_BARE = "bare text"

BareText = Annotated[str, _BARE]
"""A text that a spec may hold without quotes, as far as Python can read it: a path, a name, another spec."""

_REFERENCE = re.compile(
    r"""(?<=[(,=])(\s*)"""
    r"""(https?://[^\s,()'"\[\]]+(?=\s*[,)])"""
    r"""|(?:~?/|\.{1,2}/)[^\s,()='"\[\]]+(?=\s*[,)])|[^\s,()='"\[\]:]+:[^\W\d]\w*(?=\s*[,()])"""
    r"""|[^\W\d_][\w-]*[./:][\w./:-]+(?=\s*[,)]))"""
)
"""An argument without quotes: a URL, a path, a name in a file or a module, or a name such as
``owner/net-v1.5``; arguments may follow."""

_LONGEST_TEXT = 10_000
_DEEPEST_TEXT = 50

_registry: dict[type["Unit"], dict[str, type["Unit"]]] = {}
_plugins_loaded: set[str] = set()

UnitT = TypeVar("UnitT", bound="Unit")

FromFile = Callable[[type["Unit"], str], "Unit | None"]
"""Returns the unit of a kind that a text such as ``my.py:MyAttack(steps=5)`` means, after importing the file;
None if the text names no file."""


class Unit:
    """Base of every kind of unit. A kind sets ``kind``; `register` sets ``name`` on each final class."""

    kind: ClassVar[str] = ""
    example: ClassVar[str] = "name"
    """An example of a spec of the kind, for messages."""
    name: ClassVar[str] = ""
    replaced: ClassVar[Mapping[str, str]] = {}
    """Arguments that the last version had, each with a spec that says the same now; for the error's hint."""
    shorthands: ClassVar[Mapping[str, tuple[str, str]]] = {}
    """Arguments of a spec that stand for a unit: ``{"eps": ("threat", "linf")}`` reads ``eps=0.3`` as
    ``threat=linf(eps=0.3)``."""
    by_place: ClassVar[bool] = False
    """Whether a spec may also give arguments by position."""

    def __repr__(self) -> str:
        """Return the spec with every argument resolved."""
        fields = dataclasses.fields(self)  # type: ignore[arg-type]
        return f"{self.name}({', '.join(f'{f.name}={_spell(getattr(self, f.name))}' for f in fields)})"

    def brief(self) -> str:
        """Return the spec without the arguments that have their default values, in nested units too."""
        fields = dataclasses.fields(self)  # type: ignore[arg-type]
        given = {f.name: getattr(self, f.name) for f in fields if getattr(self, f.name) != f.default}
        words = {
            name: value.brief() if isinstance(value, Unit) else _spell(value) for name, value in given.items()
        }
        return f"{self.name}({', '.join(f'{name}={word}' for name, word in words.items())})"

    @classmethod
    def summary(cls) -> str:
        """Return the first line of the unit's docstring; empty without one."""
        return (cls.__doc__ or "").strip().partition("\n")[0]


def _spell(value: object) -> str:
    if type(value) is float:
        return spelled(value)
    # A reference to a network is an identifier and is written without quotes: purifier(network=vae). Python
    # reads keywords differently, and normalises letters beyond ASCII; such names keep their quotes.
    bare = (
        isinstance(value, str) and value.isascii() and value.isidentifier() and not keyword.iskeyword(value)
    )
    return str(value) if bare else repr(value)


@dataclass_transform(kw_only_default=True, frozen_default=True)
def register(name: str) -> Callable[[type[UnitT]], type[UnitT]]:
    """Make a class a unit: a frozen keyword-only dataclass, checked on construction, known as ``name``."""

    def decorate(cls: type[UnitT]) -> type[UnitT]:
        cls.name = name
        _resolve_annotations(cls)
        config = pydantic.ConfigDict(
            extra="forbid", strict=False, arbitrary_types_allowed=True, allow_inf_nan=False
        )
        final: Any = checked_dataclass(cls, frozen=True, kw_only=True, repr=False, config=config)
        final.__init__ = with_clear_errors(final)
        _registry.setdefault(kind_of(cls), {})[name] = final
        return cast("type[UnitT]", final)

    return decorate


def _resolve_annotations(cls: type[Unit]) -> None:
    """Replace annotations that are text by types, while the user's file is still in `sys.modules`."""
    own = inspect.get_annotations(cls)
    if any(isinstance(hint, str) for hint in own.values()):
        with contextlib.suppress(NameError):
            hints = get_type_hints(cls, include_extras=True)
            cls.__annotations__ = {name: hints[name] for name in own}


def known_again(unit: type[Unit]) -> None:
    """Make a registered class the current one of its name again, even if another was registered since."""
    _registry[kind_of(unit)][unit.name] = unit


def kind_of(cls: type[Unit]) -> type[Unit]:
    """Return the class directly below `Unit` from which ``cls`` descends."""
    return next(base for base in cls.__mro__ if Unit in base.__bases__)


def units(kind: type[UnitT]) -> dict[str, type[UnitT]]:
    """Return every registered unit of a kind by name, those of other packages included.

    Third parties register through the entry-point group ``robustlab.<kind>``.
    """
    if kind.kind not in _plugins_loaded:
        _plugins_loaded.add(kind.kind)
        for entry in importlib.metadata.entry_points(group=f"robustlab.{kind.kind}"):
            from robustlab.core.calling import calling  # loads torch

            with calling(f"{entry.value}, which registers units,", " when it was imported"):
                entry.load()
    return dict(sorted(_registry.get(kind, {}).items()))  # type: ignore[arg-type]


def parse(kind: type[UnitT], text: str, from_file: FromFile | None = None) -> UnitT:
    """Build a unit from its spec string.

    Without ``from_file`` it imports no file, so the text may come from an untrusted file. For a text from the
    user there is `user_units.parse_trusted`.

    Args:
        kind: the kind's base class, e.g. ``Attack``.
        text: a name with optional keyword arguments, e.g. ``"pgd(steps=40)"`` or ``"fgsm"``. Values are
            Python literals, names (references to networks) or nested specs.
        from_file: what builds the units of a user's files; None: a text that names a file is refused.

    Raises:
        SpecError: the text is not a spec, a name or argument is unknown, or a value is out of range.
    """
    if isinstance(text, str) and from_file is not None and (unit := from_file(kind, text)) is not None:
        return cast("UnitT", unit)
    node = syntax(text) if isinstance(text, str) else None
    if node is None:
        raise SpecError(_unreadable(kind, text))
    return _build(kind, node, text, from_file)


def called(text: str) -> str | None:
    """Return the name of the unit that a spec with arguments calls; None for any other text."""
    node = syntax(text)
    return node.func.id if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) else None


def syntax(text: str) -> ast.expr | None:
    """Return the syntax tree of a Python expression without running it; None if it can't be parsed.

    Arguments such as ``my.py:make`` and ``/data/run`` are read as texts. A text of over 10,000 characters, or
    nested more than 50 levels deep, is refused.
    """
    return syntax_and_text(text)[0]


def syntax_and_text(text: str) -> tuple[ast.expr | None, str]:
    """Return the syntax tree as `syntax` does, and the text to which its positions refer."""
    if len(text) > _LONGEST_TEXT:
        return None, text
    plain = text.strip()
    if (node := _tree(plain)) is not None:
        return node, plain
    quoted = _REFERENCE.sub(lambda match: match[1] + repr(match[2]), plain)
    return _tree(quoted), quoted


def _tree(text: str) -> ast.expr | None:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # for backslashes in texts
            node = ast.parse(text, mode="eval").body
            if "#" in text:  # a comment at the end would hide the bracket, and hides a part of the spec
                ast.parse(f"({text})", mode="eval")
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None
    level: list[ast.AST] = [node]
    for _ in range(_DEEPEST_TEXT):
        level = [child for parent in level for child in ast.iter_child_nodes(parent)]
        if not level:
            return node
    return None


def _unreadable(kind: type[Unit], text: object) -> str:
    # Papers write APGD-CE and PGD-20, which Python reads as differences.
    hint = did_you_mean(text, units(kind)) if isinstance(text, str) and ours(text) else ""
    expected = f"expected name(argument=value, ...), for example {kind.example}"
    return f"can't parse {kind.kind} {shown(text)}{hint}; {expected}"


def without_quotes(node: ast.expr | None, text: str) -> str | None:
    """Return the reference to a user's class that was in quotes, as ``my.py:MyAttack(steps=5)``; else None.

    Its arguments may be inside the quotes or behind them. A spec in quotes, such as ``'fgsm'``, is a text.
    """
    quoted = node.func if isinstance(node, ast.Call) else node
    if node is None or not isinstance(quoted, ast.Constant) or not isinstance(quoted.value, str):
        return None
    reference = quoted.value + _segment(node, text)[len(_segment(quoted, text)) :]
    return None if isinstance(syntax(reference), ast.Name | ast.Call) else reference


def build(unit: type[UnitT], text: str, from_file: FromFile | None = None) -> UnitT:
    """Build a unit of a class from a spec string of it; ``from_file`` and errors are those of `parse`."""
    node = syntax(text)
    if not isinstance(node, ast.Call) or _unpacks(node):
        raise SpecError(_unreadable(unit, text))
    return _of_class(unit, node, text, from_file)


def _build(kind: type[UnitT], node: ast.expr, text: str, from_file: FromFile | None) -> UnitT:
    if (reference := without_quotes(node, text)) is not None:
        return parse(kind, reference, from_file)
    call = node if isinstance(node, ast.Call) else ast.Call(func=node, args=[], keywords=[])
    if not isinstance(call.func, ast.Name) or _unpacks(call):
        raise SpecError(_unreadable(kind, text))
    known = units(kind)
    name = current(call.func.id, known)
    if name not in known:
        hint = did_you_mean(name, known)
        raise SpecError(f"unknown {kind.kind} {shown(name)}{hint}; {offer(known, f'{kind.kind}s')}")
    return _of_class(known[name], call, text, from_file)


def _unpacks(call: ast.Call) -> bool:
    return any(isinstance(a, ast.Starred) for a in call.args) or any(k.arg is None for k in call.keywords)


def _of_class(unit: type[UnitT], call: ast.Call, text: str, from_file: FromFile | None) -> UnitT:
    names = argument_names(unit)
    if len(call.args) > (len(names) if unit.by_place else 0):
        raise SpecError(by_name(unit, unit.name, [_segment(value, text) for value in call.args]))
    placed = [ast.keyword(arg=name, value=value) for name, value in zip(names, call.args, strict=False)]
    keywords = [*placed, *(_in_full(unit, keyword) for keyword in call.keywords)]
    given = [str(k.arg) for k in keywords]
    doubled = next((name for name in given if given.count(name) > 1), None)
    if doubled:
        raise SpecError(f"{unit.name}: the argument {shown(doubled)} is given twice")
    nested, bare = nested_kinds(unit), _bare_fields(unit)
    return unit(
        **{
            str(k.arg): _bare(k.value, text)
            if k.arg in bare
            else _value(nested.get(str(k.arg)), k.value, text, from_file)
            for k in keywords
        }
    )


def _in_full(unit: type[Unit], given: ast.keyword) -> ast.keyword:
    """Return an argument without its shorthand."""
    argument, name = unit.shorthands.get(str(given.arg), ("", ""))
    if argument not in argument_names(unit) or given.arg in argument_names(unit):
        return given
    return ast.keyword(arg=argument, value=ast.Call(func=ast.Name(id=name), args=[], keywords=[given]))


def _value(kind: type[Unit] | None, node: ast.expr, text: str, from_file: FromFile | None = None) -> object:
    if kind is not None and (isinstance(node, ast.Name | ast.Call) or without_quotes(node, text) is not None):
        return _build(kind, node, text, from_file)
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Div):
        return _quotient(node, text)
    try:
        return ast.literal_eval(node)
    except (ValueError, TypeError, RecursionError, MemoryError):
        value = _segment(node, text)
        raise SpecError(f"in {shown(text)}: {shown(value)} is neither a literal, a name nor a spec") from None


def _bare(node: ast.expr, text: str) -> object:
    """Return the value of a `BareText`: None, or a text with or without quotes."""
    if isinstance(node, ast.Constant):
        return node.value
    if not _is_plain(node):
        value = shown(_segment(node, text))
        raise SpecError(f"in {shown(text)}: {value} is neither a name, a path nor a spec; put it in quotes")
    return _segment(node, text)


def _is_plain(node: ast.expr) -> bool:
    """Return whether a node is a name, a path of names such as ``runs/mnist-2``, or a spec."""
    match node:
        case ast.Name() | ast.Call(func=ast.Name()):
            return True
        case ast.Attribute(value=inner):
            return _is_plain(inner)
        case ast.BinOp(left=left, op=ast.Div() | ast.Sub(), right=ast.Constant(value=int() | float())):
            return _is_plain(left)
        case ast.BinOp(left=left, op=ast.Div() | ast.Sub(), right=right):
            return _is_plain(left) and _is_plain(right)
    return False


def _segment(node: ast.expr, text: str) -> str:
    """Return the part of a spec that a node was read from."""
    return ast.get_source_segment(syntax_and_text(text)[1], node) or "..."


def _bare_fields(unit: type[Unit]) -> set[str]:
    return {name for name, hint in get_type_hints(unit, include_extras=True).items() if _marks(hint, _BARE)}


def _quotient(node: ast.BinOp, text: str) -> float:
    """Return the value of a fraction such as 8/255, as lengths on the pixel scale are often given."""
    above, below = _value(None, node.left, text), _value(None, node.right, text)
    if not isinstance(above, int | float) or not isinstance(below, int | float) or below == 0:
        raise SpecError(f"in {shown(text)}: {shown(ast.unparse(node))} is not a fraction")
    try:
        return above / below
    except OverflowError:
        raise SpecError(f"in {shown(text)}: the fraction {shown(ast.unparse(node))} is too large") from None


def nested_kinds(unit: type[Unit]) -> dict[str, type[Unit]]:
    """Return the arguments of a unit that are units themselves, with their kinds."""
    hints = get_type_hints(unit)
    return {
        f.name: hints[f.name]
        for f in dataclasses.fields(unit)  # type: ignore[arg-type]
        if isinstance(hints[f.name], type) and issubclass(hints[f.name], Unit)
    }


def _marks(hint: object, mark: str) -> bool:
    return mark in getattr(hint, "__metadata__", ()) or any(_marks(part, mark) for part in get_args(hint))
