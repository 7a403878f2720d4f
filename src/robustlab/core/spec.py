"""Units and their spec strings: ``pgd(steps=40)`` is a repr, an argument, a TOML value and a cache key.

A unit is a frozen, keyword-only dataclass of hyper-parameters. It belongs to a kind (its base class:
attack, threat, model, ...) and registers itself there under a short name. Its repr is its spec, so
``parse(Attack, repr(attack)) == attack`` for every unit.
"""

import ast
import dataclasses
import importlib.metadata
import keyword
from collections.abc import Callable
from typing import Annotated, Any, ClassVar, TypeVar, cast, dataclass_transform, get_args, get_type_hints

import pydantic
from pydantic import Field
from pydantic.dataclasses import dataclass as checked_dataclass

from robustlab.core.calling import calling
from robustlab.core.errors import SpecError, did_you_mean

_IN_PIXELS = "pixel scale"

PixelLength = Annotated[float, Field(ge=0.0, le=1.0, allow_inf_nan=False), _IN_PIXELS]
"""A length on the pixel scale [0, 1], such as a Linf eps or a standard deviation; `scaled` multiplies it."""

PixelDistance = Annotated[float, Field(ge=0.0, allow_inf_nan=False), _IN_PIXELS]
"""A distance summed over pixels, such as an L2 eps, which may exceed 1; `scaled` multiplies it."""

_registry: dict[type["Unit"], dict[str, type["Unit"]]] = {}
_plugins_loaded: set[str] = set()

UnitT = TypeVar("UnitT", bound="Unit")


class Unit:
    """Base of every kind of unit. A kind sets ``kind``; `register` sets ``name`` on each final class."""

    kind: ClassVar[str] = ""
    name: ClassVar[str] = ""

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
        """Return the first line of the unit's docstring."""
        return (cls.__doc__ or "").strip().splitlines()[0]


def _spell(value: object) -> str:
    # A reference to a network is an identifier and is written bare: purifier(network=vae).
    # Python reads keywords otherwise, and normalises letters beyond ASCII; those keep their quotes.
    bare = (
        isinstance(value, str) and value.isascii() and value.isidentifier() and not keyword.iskeyword(value)
    )
    return str(value) if bare else repr(value)


@dataclass_transform(kw_only_default=True, frozen_default=True)
def register(name: str) -> Callable[[type[UnitT]], type[UnitT]]:
    """Make a class a unit: a frozen keyword-only dataclass, checked on construction, known as ``name``."""

    def decorate(cls: type[UnitT]) -> type[UnitT]:
        cls.name = name
        config = pydantic.ConfigDict(
            extra="forbid", strict=False, arbitrary_types_allowed=True, allow_inf_nan=False
        )
        final: Any = checked_dataclass(cls, frozen=True, kw_only=True, repr=False, config=config)
        _registry.setdefault(_kind_of(cls), {})[name] = final
        return cast("type[UnitT]", final)

    return decorate


def _kind_of(cls: type[Unit]) -> type[Unit]:
    """Return the class directly below `Unit` from which ``cls`` descends."""
    return next(base for base in cls.__mro__ if Unit in base.__bases__)


def units(kind: type[UnitT]) -> dict[str, type[UnitT]]:
    """Return every registered unit of a kind by name, those of other packages included.

    Third parties register through the entry-point group ``robustlab.<kind>``.
    """
    if kind.kind not in _plugins_loaded:
        _plugins_loaded.add(kind.kind)
        for entry in importlib.metadata.entry_points(group=f"robustlab.{kind.kind}"):
            with calling(f"{entry.value}, which registers units,", " when it was imported"):
                entry.load()
    return dict(sorted(_registry.get(kind, {}).items()))  # type: ignore[arg-type]


def parse(kind: type[UnitT], text: str) -> UnitT:
    """Build a unit from its spec string.

    Args:
        kind: the kind's base class, e.g. ``Attack``.
        text: a name with optional keyword arguments, e.g. ``"pgd(steps=40)"`` or ``"fgsm"``. Values are
            Python literals, names (references to networks) or nested specs.

    Raises:
        SpecError: the text is no spec, or an unknown name or argument, or a value out of range.
    """
    try:
        node = ast.parse(text.strip(), mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        raise SpecError(
            f"{kind.kind} {_shortened(text)!r} is no spec; "
            f"expected name(argument=value, ...), such as {_example(kind)}"
        ) from None
    return _build(kind, node, text)


def _shortened(text: str) -> str:
    return text if len(text) <= 200 else text[:200] + "..."


def _example(kind: type[Unit]) -> str:
    return next(iter(units(kind)), "name")


def _build(kind: type[UnitT], node: ast.expr, text: str) -> UnitT:
    call = node if isinstance(node, ast.Call) else ast.Call(func=node, args=[], keywords=[])
    if not isinstance(call.func, ast.Name) or call.args or any(k.arg is None for k in call.keywords):
        raise SpecError(f"{kind.kind} {_shortened(text)!r} is no spec; expected name(argument=value, ...)")
    known = units(kind)
    if call.func.id not in known:
        hint = did_you_mean(call.func.id, known)
        raise SpecError(f"unknown {kind.kind} {call.func.id!r}{hint}; accepted: {', '.join(known)}")
    unit = known[call.func.id]
    given = [str(k.arg) for k in call.keywords]
    doubled = next((name for name in given if given.count(name) > 1), None)
    if doubled:
        raise SpecError(f"{unit.name}: the argument {doubled!r} is given twice")
    nested = nested_kinds(unit)
    arguments = {str(k.arg): _value(nested.get(str(k.arg)), k.value, text) for k in call.keywords}
    return make(unit, arguments)


def _value(kind: type[Unit] | None, node: ast.expr, text: str) -> object:
    if kind is not None and isinstance(node, ast.Name | ast.Call):
        return _build(kind, node, text)
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Div):
        return _quotient(node, text)
    try:
        return ast.literal_eval(node)
    except (ValueError, TypeError, RecursionError, MemoryError):
        value = ast.get_source_segment(text.strip(), node) or ""
        raise SpecError(
            f"in {_shortened(text)!r}: {_shortened(value)!r} is neither a literal, a name nor a spec"
        ) from None


def _quotient(node: ast.BinOp, text: str) -> float:
    """Return the value of a fraction such as 8/255, as lengths on the pixel scale are often given."""
    above, below = _value(None, node.left, text), _value(None, node.right, text)
    if not isinstance(above, int | float) or not isinstance(below, int | float) or below == 0:
        raise SpecError(f"in {_shortened(text)!r}: {ast.unparse(node)!r} is no fraction")
    return above / below


def nested_kinds(unit: type[Unit]) -> dict[str, type[Unit]]:
    """Return the arguments of a unit that are units themselves, with their kinds."""
    hints = get_type_hints(unit)
    return {
        f.name: hints[f.name]
        for f in dataclasses.fields(unit)  # type: ignore[arg-type]
        if isinstance(hints[f.name], type) and issubclass(hints[f.name], Unit)
    }


def make(unit: type[UnitT], arguments: dict[str, Any]) -> UnitT:
    """Construct a unit from keyword arguments, turning every refusal into a `SpecError` that teaches."""
    accepted = [f.name for f in dataclasses.fields(unit)]  # type: ignore[arg-type]
    for name in arguments:
        if name not in accepted:
            hint = did_you_mean(name, accepted)
            listing = ", ".join(accepted) or "none"
            raise SpecError(f"{unit.name} has no argument {name!r}{hint}; accepted: {listing}")
    try:
        return unit(**arguments)
    except pydantic.ValidationError as error:
        first = error.errors()[0]
        field = ".".join(str(part) for part in first["loc"])
        given = f", found {first['input']!r}" if first["type"] != "missing" else ""
        raise SpecError(
            f"{unit.name}: {field}: {first['msg'][:1].lower()}{first['msg'][1:]}{given}"
        ) from None


def scaled(unit: UnitT, factor: float) -> UnitT:
    """Return the unit with every pixel-scale length in it, and in the units it holds, times ``factor``.

    This is how a figure stated in other units (an eps after normalisation to [-1, 1], where one unit
    is half a pixel unit) becomes the pixel-scale one that the library works in.

    Raises:
        SpecError: a length is out of its range then.
    """
    changes: dict[str, Any] = {}
    for name in pixel_fields(type(unit)):
        value = getattr(unit, name)
        changes[name] = None if value is None else value * factor
    for name in nested_kinds(type(unit)):
        changes[name] = scaled(getattr(unit, name), factor)
    return make(type(unit), vars(unit) | changes) if changes else unit


def has_lengths(unit: Unit | None) -> bool:
    """Tell whether `scaled` would change the unit."""
    if unit is None:
        return False
    return bool(pixel_fields(type(unit))) or any(
        has_lengths(getattr(unit, n)) for n in nested_kinds(type(unit))
    )


def pixel_fields(unit: type[Unit]) -> list[str]:
    """Return the names of the arguments that are pixel-scale lengths."""
    return [name for name, hint in get_type_hints(unit, include_extras=True).items() if _marks(hint)]


def _marks(hint: object) -> bool:
    return _IN_PIXELS in getattr(hint, "__metadata__", ()) or any(_marks(a) for a in get_args(hint))
