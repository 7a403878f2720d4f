"""``robustlab evaluate``."""

from typing import Annotated, Any

import typer

from robustlab.cli.norm_and_eps import Eps, Norm, read_threat
from robustlab.cli.options import with_options
from robustlab.cli.shared import Json, Open, Quiet, app, friendly
from robustlab.cli.texts import echo
from robustlab.core.errors import RobustlabError
from robustlab.options import EvaluationOptions


@app.command()
@friendly
@with_options(EvaluationOptions)
def evaluate(
    context: typer.Context,
    given: dict[str, Any],
    norm: Norm = None,
    eps: Eps = None,
    strict: Annotated[bool, typer.Option("--strict", help="Exit with 1 if a check fails.")] = False,
    quiet: Quiet = False,
    as_json: Json = False,
    open_report: Open = False,
) -> None:
    """Find out how robust a classifier is. The same command again resumes."""
    from robustlab.cli import browser, interrupt, output, tables, terminal

    if strict and not given["checks"]:
        raise RobustlabError("--strict needs the checks: leave out --no-checks")
    read_threat(context, given, norm, eps)
    show = terminal.TerminalProgress(quiet=quiet or as_json)
    with show, interrupt.orderly(), output.kept_for_the_result():
        import robustlab

        run = robustlab.evaluate(**given, progress=show)
    if as_json:
        echo(run.results.model_dump_json(indent=2))
    elif not quiet:
        tables.show_evaluation(run)
    for check in run.results.red_flags:  # a warning, so it is shown even when quiet
        typer.echo(f"red flag: {check.title}: {check.found}", err=True)
    if not (as_json or quiet):
        tables.show_verdict(run)
    if open_report:
        browser.show(run.folder / "report.html")
    if strict and run.results.red_flags:
        raise typer.Exit(1)
