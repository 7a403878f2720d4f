"""The constructor of a unit: every error is one line that names the argument.

pydantic checks types and ranges. It also accepts True for 1 and '2' for 2, and its errors are long.
"""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any, Literal, get_args, get_origin, get_type_hints

import pydantic

from robustlab.core.aliases import current, normalized
from robustlab.core.arguments import LARGEST_COUNT, LARGEST_FLOAT
from robustlab.core.errors import SpecError, did_you_mean, offer
from robustlab.core.text import shown


def with_clear_errors(unit: Any) -> Callable[..., None]:
    """Return a unit's constructor that turns every refusal into a `SpecError` of one line."""
    construct = unit.__init__

    @functools.wraps(construct)
    def init(self: object, *values: object, **arguments: object) -> None:
        if values:
            raise SpecError(by_name(unit, unit.__name__, [shown(value) for value in values]))
        arguments = {current(name, argument_names(unit)): value for name, value in arguments.items()}
        checked = {name: _checked(unit, name, value) for name, value in arguments.items()}
        try:
            construct(self, **checked)
        except pydantic.ValidationError as error:
            raise SpecError(_problem(unit, error)) from None

    return init


def by_name(unit: type[Any], called: str, values: list[str]) -> str:
    """Explain how positional arguments are given by name."""
    accepted = argument_names(unit)
    if len(values) > len(accepted):
        return f"{called} takes its arguments by name; {offer(accepted)}"
    given = ", ".join(f"{name}={value}" for name, value in zip(accepted, values, strict=False))
    return f"{called} takes its arguments by name: {called}({given})"


def argument_names(unit: type[Any]) -> list[str]:
    """Return the names of a unit's arguments, in order."""
    return [field.name for field in dataclasses.fields(unit)]


def _checked(unit: Any, name: str, value: object) -> object:
    """Return an argument's value, as a plain number if it is one.

    Raises:
        SpecError: there is no such argument; or it is a number, and the value is a bool, a text or too large.
    """
    if name not in argument_names(unit):
        hint = did_you_mean(name, [*argument_names(unit), *unit.shorthands])
        if unit.kind == "attack" and normalized(name) in {"eps", "epsilon"}:
            hint = "; eps belongs to the threat model, such as linf(eps=0.3)"
        if name in unit.replaced:
            hint = f"; write {unit.replaced[name]}"
        raise SpecError(f"{unit.name} has no argument {shown(name)}{hint}; {offer(argument_names(unit))}")
    kinds = _plain_types(unit)[name]
    if isinstance(value, tuple | list) and _takes_several(get_type_hints(unit)[name]):
        return tuple(_plain_number(unit, name, part, kinds) for part in value)
    return _plain_number(unit, name, value, kinds)


def _plain_number(unit: Any, name: str, value: object, kinds: set[type]) -> object:
    """Return a value, or one of several, as a plain number if it is one; see `_checked`."""
    if getattr(value, "ndim", None) == 0 and callable(getattr(value, "item", None)):
        value = value.item()  # type: ignore[attr-defined]  # a NumPy or torch scalar
    if kinds.isdisjoint({int, float}):
        if kinds == {bool} and not isinstance(value, bool | str):
            raise SpecError(f"{unit.name}: {name} must be True or False, found {shown(value)}")
        return value
    if value is None or type(value) in kinds - {int, float}:
        return value
    # To Python True is 1, and to pydantic '2' is 2.
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise SpecError(f"{unit.name}: {name} must be a number, found {shown(value)}")
    most = LARGEST_FLOAT if float in kinds else LARGEST_COUNT
    if abs(value) > most and abs(value) != float("inf"):
        raise SpecError(f"{unit.name}: {name} must be at most {most:.3g}, found {shown(value)}")
    return value


def _takes_several(hint: Any) -> bool:
    """Return whether an argument takes a tuple or a list."""
    return get_origin(hint) in {tuple, list} or any(map(_takes_several, get_args(hint)))


@functools.cache
def _plain_types(unit: type[Any]) -> dict[str, set[type]]:
    """Return which of bool, int, float and str each argument accepts."""

    def types_in(hint: Any) -> set[type]:
        if get_origin(hint) is Literal:
            return {type(word) for word in get_args(hint)}
        inner = get_args(hint)
        return set().union(*map(types_in, inner)) if inner else {hint} & {bool, int, float, str}

    return {name: types_in(hint) for name, hint in get_type_hints(unit).items()}


def _problem(unit: type[Any], error: pydantic.ValidationError) -> str:
    """Describe the first refusal, naming the argument."""
    problems = error.errors()
    missing = [str(problem["loc"][-1]) for problem in problems if problem["type"] == "missing"]
    if missing:
        spelled = ", ".join(f"{name}=..." for name in missing)
        return f"{unit.name} needs {' and '.join(missing)}: {unit.name}({spelled})"
    first = problems[0]
    message = first["msg"].removeprefix("Value error, ")
    if not first["loc"]:
        return f"{unit.name}: {message}"
    field = first["loc"][0]
    should = message.startswith("Input should")
    message = message.removeprefix("Input ") if should else f": {message}"
    hint = ""
    if unit.kind == "threat" and first["type"] == "less_than_equal":  # usually meant as steps of 255
        hint = f"; {field} is on the pixel scale [0, 1], for example 8/255"
    return f"{unit.name}: {field} {message}, found {shown(first['input'])}{hint}"
