"""Shared parts of the commands: the application, the handling of errors, and common options."""

import functools
from collections.abc import Callable
from typing import Annotated, ParamSpec

import typer

from robustlab.cli.usage import Commands
from robustlab.core.errors import RobustlabError
from robustlab.core.files import reason

P = ParamSpec("P")

_NOBODY_READS = 141
"""The exit code after the reader of the output has ended, as shells define it: 128 + SIGPIPE."""

app = typer.Typer(
    name="robustlab",
    cls=Commands,
    help="Finds out how robust an image classifier really is, and makes it more robust.",
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)


def friendly(command: Callable[P, None]) -> Callable[P, None]:
    """Turn a user's mistake into one line and exit code 2, and Ctrl-C into a short message and 130."""

    @functools.wraps(command)
    def run(*args: P.args, **kwargs: P.kwargs) -> None:
        try:
            command(*args, **kwargs)
        except RobustlabError as error:
            typer.echo(f"robustlab: error: {error}", err=True)
            raise typer.Exit(error.exit_code) from None
        except typer.Exit:
            raise
        except BrokenPipeError:
            raise typer.Exit(_NOBODY_READS) from None
        except OSError as error:  # a path that can't be read, or is not a valid path
            _tell_users_own(error)
            where = f"cannot use {error.filename}: " if error.filename else ""
            typer.echo(f"robustlab: error: {where}{reason(error)}", err=True)
            raise typer.Exit(RobustlabError.exit_code) from None
        except BaseException as error:
            _tell_users_own(error)
            if isinstance(error, SystemExit) and isinstance(error.__context__, BrokenPipeError):
                raise typer.Exit(_NOBODY_READS) from None  # rich turns one of them into the other
            if isinstance(error, SystemExit):  # robustlab raises none of these
                typer.echo("robustlab: error: a user's code ended the program (sys.exit)", err=True)
                raise typer.Exit(RobustlabError.exit_code) from None
            if not isinstance(error, KeyboardInterrupt):
                raise
            typer.echo("\nStopped. What is finished is kept: the same command goes on from there.", err=True)
            raise typer.Exit(130) from None

    return run


def _tell_users_own(error: BaseException) -> None:
    """End with one line if a user's code raised an error on its own, as in a signal handler."""
    from robustlab.core.calling import blame, is_ctrl_c, raised_by_users_code

    if raised_by_users_code(error) and not is_ctrl_c(error):
        typer.echo(f"robustlab: error: a user's code failed: {blame(error)}", err=True)
        raise typer.Exit(RobustlabError.exit_code) from None


DataRoot = Annotated[
    str | None,
    typer.Option(
        metavar="FOLDER",
        help="Folder to look for data in first; then ROBUSTLAB_DATA, ./data and the user's cache folder.",
    ),
]
Quiet = Annotated[bool, typer.Option("--quiet", help="Print nothing but warnings and errors.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON on standard output and nothing else there.")]
Open = Annotated[bool, typer.Option("--open", help="Open the report in a browser, if there is a display.")]
