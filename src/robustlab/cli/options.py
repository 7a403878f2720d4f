"""Makes the command line's options of those that Python has."""

import inspect
from collections.abc import Callable
from dataclasses import MISSING
from enum import StrEnum
from typing import Annotated, Any, Literal, get_args, get_origin

import typer

from robustlab.core.aliases import RENAMED
from robustlab.core.options import OptionInfo, options_of

_HERE = "given"
"""The argument of a command that stands for all the options."""


def with_options(kind: type) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Give a command the options of a dataclass before its own; it gets them as the dict ``given``.

    What the user leaves out is not in it, so that the defaults stand in one place.
    """

    def decorate(command: Callable[..., None]) -> Callable[..., None]:
        options = {
            name: (field, said) for name, (field, said) in options_of(kind).items() if said.command_line
        }
        parameters = [_parameter(name, field, said) for name, (field, said) in options.items()]
        own = [
            parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY)
            for parameter in inspect.signature(command).parameters.values()
            if parameter.name != _HERE
        ]

        def run(**values: Any) -> None:
            given = {name: values.pop(name) for name in options}
            given = {name: value for name, value in given.items() if value not in (None, [])}
            command(given={k: str(v) if isinstance(v, StrEnum) else v for k, v in given.items()}, **values)

        run.__name__, run.__doc__ = command.__name__, command.__doc__
        signature: Any = inspect.Signature([*parameters, *own])
        run.__signature__ = signature  # type: ignore[attr-defined]
        run.__annotations__ = {p.name: p.annotation for p in signature.parameters.values()}
        return run

    return decorate


def _parameter(name: str, field: Any, said: OptionInfo) -> inspect.Parameter:
    """Return what typer makes an option of."""
    required = field.default is field.default_factory is MISSING
    kind, default = _type(field.type, said, required=required), field.default
    if isinstance(kind, type) and issubclass(kind, StrEnum):
        default = kind(default)
    elif said.command_line == "texts":
        default = None
    flag = said.flag or f"--{name.replace('_', '-')}"
    # A switch that is on has a --no- form, which typer makes where no name is given.
    flags = [] if default is True else [flag]
    flags += [f"--{old}" for old, new in RENAMED.items() if name in new]
    shared: dict[str, Any] = {"help": f"{said.help[0].upper()}{said.help[1:]}.", "metavar": said.metavar}
    info = typer.Argument(**shared) if said.by_place else typer.Option(*flags, **shared)
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
    return hint
