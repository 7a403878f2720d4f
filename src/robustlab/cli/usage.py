"""Mistakes in a command line: one line, with a hint for users of other tools."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import typer
from typer.core import TyperGroup

from robustlab.cli.examples import EXAMPLES
from robustlab.core.aliases import ALIASES, normalized
from robustlab.core.errors import RobustlabError, did_you_mean

# Newer versions of typer contain click: its errors are found through typer's exports.
_UsageError: Any = typer.BadParameter.__base__


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
        """Read a command's options and run it."""
        with _one_line():
            return super().invoke(ctx)


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
