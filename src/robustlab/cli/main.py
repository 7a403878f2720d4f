"""``robustlab``: study, train, evaluate, certify, compare, gate, export, report, explain, ls, doctor."""

import io
import sys
import warnings
from typing import Annotated, Any

import typer

from robustlab import __version__
from robustlab.cli import compare, export  # noqa: F401 (their commands register themselves)
from robustlab.cli.examples import epilog
from robustlab.cli.interrupt import leave_on_ctrl_c
from robustlab.cli.output import Forgiving, close_for_the_rest, open_all_streams
from robustlab.cli.shared import DataRoot, Json, Open, app, friendly
from robustlab.core.aliases import RenamedWarning
from robustlab.core.arguments import as_path
from robustlab.core.memory import keep_freed_memory
from robustlab.core.text import printable

if sys.argv[1:2] not in (["compare"], ["gate"]):  # these answer at once; the others have many options
    from robustlab.cli import certify, evaluate, study, train  # noqa: F401

__all__ = ["app", "main"]


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"robustlab {__version__}")
        raise typer.Exit


@app.callback()
def before_a_command(
    version: Annotated[
        bool,
        typer.Option("--version", help="Print the version.", is_eager=True, callback=_show_version),
    ] = False,
) -> None:
    """Handle the options before a command."""


@app.command()
@friendly
def report(
    run: Annotated[str, typer.Argument(help="The folder of a finished run.")],
    open_report: Open = False,
) -> None:
    """Write the report of a finished run again."""
    import robustlab
    from robustlab.cli import browser

    path = robustlab.write_report(run)
    typer.echo(printable(str(path)))
    if open_report:
        browser.show(path)


def _check_names(incomplete: str) -> list[str]:
    from robustlab.shipped import check_texts

    return [name for name in check_texts() if name.startswith(incomplete)]


@app.command()
@friendly
def explain(
    check: Annotated[
        str | None,
        typer.Argument(
            help="A check's name, e.g. zero-gradients; without it all are listed.",
            autocompletion=_check_names,
        ),
    ] = None,
    as_json: Json = False,
) -> None:
    """Explain what a check computes, what it means if it fails, and what to do next."""
    from robustlab.cli import explain as checks

    checks.show(check, as_json=as_json)


@app.command(name="ls")
@friendly
def list_units(
    kind: Annotated[
        str | None, typer.Argument(help="Only this kind, e.g. attacks; or a unit to explain, e.g. pgd.")
    ] = None,
    as_json: Json = False,
) -> None:
    """List the attacks, defenses, detectors, datasets, models and recipes, or explain one."""
    from robustlab.cli import listing

    listing.show(kind, as_json=as_json)


@app.command()
@friendly
def doctor(data_root: DataRoot = None, as_json: Json = False) -> None:
    """Show the installation, the machine's abilities and the data found; exit with 2 on a problem."""
    from robustlab.cli import doctor as checks

    checks.show(None if data_root is None else as_path("data_root", data_root), as_json=as_json)


for _command in app.registered_commands:
    _command.epilog = epilog(_command.name or _command.callback.__name__)  # type: ignore[union-attr]

_show_as_usual = warnings.showwarning
_shown: set[str] = set()


def _show_warning(message: Any, category: Any, *where: Any, **more: Any) -> None:
    if category is RenamedWarning:  # the traceback does not help the user who typed the name
        if str(message) not in _shown:  # a spec may be read twice
            typer.echo(printable(str(message)), err=True)
        _shown.add(str(message))
    else:
        _show_as_usual(message, category, *where, **more)


def main() -> None:
    """Run the command line."""
    open_all_streams()
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # a terminal that can't show a dash shows another sign
    forgiving: Any = Forgiving(sys.stderr)
    sys.stderr = forgiving
    warnings.showwarning = _show_warning
    leave_on_ctrl_c()
    keep_freed_memory()
    try:
        app(prog_name="robustlab")  # also of `python -m robustlab`
    finally:
        close_for_the_rest()
