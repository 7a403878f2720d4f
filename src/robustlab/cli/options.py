"""Makes the command line's options from the option dataclasses."""

import functools
import inspect
import operator
from collections.abc import Callable
from dataclasses import MISSING
from enum import StrEnum
from types import UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import typer

from robustlab.core.aliases import RENAMED
from robustlab.core.errors import SpecError
from robustlab.core.options import OptionInfo, options_of
from robustlab.core.text import shown

_HERE = "given"
"""The parameter of a command that represents all the options."""
_PLACE = "_by_place"


def with_options(
    kind: type, instead_of_place: str = ""
) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Add the options of a dataclass to a command; it gets them as the dict ``given``.

    Options that the user omits are not in the dict, so the defaults are defined in one place.

    Args:
        kind: the dataclass.
        instead_of_place: an option of the command's own that stands for what is given by position; only one
            of the two may be given.
    """

    def decorate(command: Callable[..., None]) -> Callable[..., None]:
        options = {
            name: (field, said) for name, (field, said) in options_of(kind).items() if said.command_line
        }
        either = [name for name, (_, said) in options.items() if said.by_place and said.flag]
        parameters = [_parameter(name, field, said) for name, (field, said) in options.items()]
        parameters += [_also_by_place(name, *options[name]) for name in either]
        own = [
            parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY)
            for parameter in inspect.signature(command).parameters.values()
            if parameter.name != _HERE
        ]

        def run(**values: Any) -> None:
            for name in either:
                instead = values.get(instead_of_place)
                _settle(name, values, required=_required(options[name][0]) and instead is None)
                if instead is not None and values[name] is not None:
                    raise SpecError(
                        f"give either {name.upper()} or --{instead_of_place}; "
                        f"found {shown(values[name])} and {shown(instead)}"
                    )
            given = {name: values.pop(name) for name in options}
            given = {name: value for name, value in given.items() if value not in (None, [])}
            command(given={k: str(v) if isinstance(v, StrEnum) else v for k, v in given.items()}, **values)

        run.__name__, run.__doc__ = command.__name__, command.__doc__
        signature: Any = inspect.Signature([*parameters, *own])
        run.__signature__ = signature  # type: ignore[attr-defined]
        run.__annotations__ = {p.name: p.annotation for p in signature.parameters.values()}
        return run

    return decorate


def _required(field: Any) -> bool:
    return field.default is MISSING and field.default_factory is MISSING


def _also_by_place(name: str, field: Any, said: OptionInfo) -> inspect.Parameter:
    """Return the positional argument of an option that may also be given as a flag."""
    info = typer.Argument(help=f"The same as {said.flag}.", metavar=name.upper(), show_default=False)
    return inspect.Parameter(
        f"{name}{_PLACE}",
        inspect.Parameter.KEYWORD_ONLY,
        default=None,
        annotation=Annotated[_type(field.type, said, required=False), info],
    )


def _settle(name: str, values: dict[str, Any], *, required: bool) -> None:
    """Set the value of an option that was given by its flag or by position.

    Raises:
        SpecError: it was given twice, or it is required and was not given.
    """
    by_place = values.pop(f"{name}{_PLACE}")
    if by_place is not None and values[name] is not None:
        raise SpecError(f"--{name} is given twice: {shown(by_place)} and {shown(values[name])}")
    values[name] = by_place if by_place is not None else values[name]
    if required and values[name] is None:
        raise SpecError(f"the {name} is missing: give {name.upper()} or --{name}")


def _parameter(name: str, field: Any, said: OptionInfo) -> inspect.Parameter:
    """Return typer's parameter for an option."""
    either = bool(said.by_place and said.flag)
    required = _required(field) and not either
    kind: Any = _type(field.type, said, required=required)
    default: Any = None if either else field.default
    if isinstance(kind, type) and issubclass(kind, StrEnum):
        default = kind(default)
    elif said.command_line == "texts":
        default = None
    flag = said.flag or f"--{name.replace('_', '-')}"
    # A switch that is on by default has a --no- form, which typer makes if no name is given.
    flags = [] if default is True else [flag]
    flags += [f"--{old}" for old, new in RENAMED.items() if name == new[0]]
    shared: dict[str, Any] = {"help": f"{said.help[0].upper()}{said.help[1:]}.", "metavar": said.metavar}
    info = typer.Argument(**shared) if said.by_place and not either else typer.Option(*flags, **shared)
    return inspect.Parameter(
        name,
        inspect.Parameter.KEYWORD_ONLY,
        default=inspect.Parameter.empty if required else default,
        annotation=Annotated[kind, info],
    )


def _type(hint: Any, said: OptionInfo, *, required: bool) -> Any:
    """Return the type of an option on the command line."""
    if said.command_line == "text":
        return str if required else str | None
    if said.command_line == "texts":
        return list[str] | None
    if get_origin(hint) is Literal:
        return StrEnum("Choice", {word.upper().replace("-", "_"): word for word in get_args(hint)})
    return _without_ranges(hint)


def _without_ranges(hint: Any) -> Any:
    """Return a type without what `Annotated` adds; the ranges are checked later, for Python too."""
    if get_origin(hint) is Annotated:
        return get_args(hint)[0]
    if get_origin(hint) in {Union, UnionType}:
        return functools.reduce(operator.or_, map(_without_ranges, get_args(hint)))
    return hint
