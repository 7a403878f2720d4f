"""Mistakes in a command line: one line, with a hint for users of other tools."""

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import typer
from typer.core import TyperGroup

from robustlab.cli.examples import EXAMPLES
from robustlab.core.aliases import ALIASES, normalized
from robustlab.core.arguments import typed_as
from robustlab.core.errors import RobustlabError, did_you_mean

# Newer versions of typer contain click: its errors are found through typer's exports.
_UsageError: Any = typer.BadParameter.__base__

_FLAGS = "robustlab.flags"
"""The key of the flags in a context's ``meta``."""

_NUMBER = re.compile(r"[0-9]{1,20}(\.[0-9]{0,20})?|\.[0-9]{1,20}")


class Commands(TyperGroup):
    """The commands; a mistake in a call gives one line on standard error, and exit code 2."""

    def list_commands(self, ctx: Any) -> list[str]:
        """Return the commands in the order of `EXAMPLES`, regardless of the order of registration."""
        return sorted(super().list_commands(ctx), key=[*EXAMPLES].index)

    def make_context(self, *args: Any, **extra: Any) -> Any:
        """Read the options before a command."""
        with _one_line():
            return super().make_context(*args, **extra)

    def invoke(self, ctx: Any) -> Any:
        """Read a command's options and run it; its errors name options by their flags."""
        flags: dict[str, str] = {}
        ctx.meta[_FLAGS] = flags
        with _one_line(), typed_as(flags):
            return super().invoke(ctx)

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """Return the command that is run, with its name and its arguments."""
        name, command, rest = super().resolve_command(ctx, args)
        if command:
            options = [parameter for parameter in command.params if parameter.param_type_name == "option"]
            flags = {option.name: option.opts[0] for option in options}
            ctx.meta.setdefault(_FLAGS, {}).update(flags)  # the shell completes without `invoke`
        return name, command, rest

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """Return a command, or None, with parameters that need no pydantic."""
        command = super().get_command(ctx, cmd_name)
        for parameter in command.get_params(ctx) if command else ():
            _read_without_pydantic(parameter)
        return command

    def get_params(self, ctx: Any) -> Any:
        """Return the options that stand before a command; they need no pydantic either."""
        parameters = super().get_params(ctx)
        for parameter in parameters:
            _read_without_pydantic(parameter)
        return parameters


def _read_without_pydantic(parameter: Any) -> None:
    """Let a parameter take a text, a plain number or nothing without pydantic.

    Newer versions of typer ask pydantic even then, and to load it takes as long as `ls` takes otherwise.
    Where typer works in another way this has no effect.
    """
    build = getattr(parameter, "get_runtime_param", None)
    if build is not None and parameter.nargs == 1 and not parameter.multiple:
        parameter._runtime_param = _Plain(build, parameter.type_descriptor.annotation)


class _Plain:
    """What typer calls for the value of a parameter."""

    def __init__(self, build: Callable[[], Any], kind: Any) -> None:
        self._build, self._kind = build, kind

    def coerce(self, value: Any, param: Any, ctx: Any) -> Any:
        if value is None or (self._kind is str and isinstance(value, str)):
            return value
        if self._kind is float and isinstance(value, str) and _NUMBER.fullmatch(value):
            return float(value)
        param._runtime_param = None  # as typer left it, so that typer makes its own
        return self._build().coerce(value, param=param, ctx=ctx)


@contextmanager
def _one_line() -> Iterator[None]:
    try:
        yield
    except _UsageError as error:
        if type(error).__name__ == "NoArgsIsHelpError":
            raise
        path = error.ctx.command_path if error.ctx else "robustlab"
        hint = _hint(error)
        message = f"{error.format_message().rstrip('.')}{hint}; see {path} --help"
        typer.echo(f"robustlab: error: {RobustlabError(message)}", err=True)
        raise typer.Exit(RobustlabError.exit_code) from None


def _hint(error: Any) -> str:
    """Return the likely meaning of an unknown option."""
    given = getattr(error, "option_name", None)
    if not given or not error.ctx:
        return ""
    accepted = [name for parameter in error.ctx.command.params for name in parameter.opts]
    error.possibilities = None  # click's own suggestion
    if normalized(given) in ALIASES["threat"] and "--threat" in accepted:
        return " (did you mean --norm linf --eps 0.3?)"
    return did_you_mean(given, accepted)
