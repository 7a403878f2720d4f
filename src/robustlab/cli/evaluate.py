"""``robustlab evaluate``."""

import sys
from typing import Annotated, Any

import typer

from robustlab.cli.options import with_options
from robustlab.cli.shared import Json, Open, app, friendly
from robustlab.core.errors import RobustlabError, SpecError
from robustlab.core.text import shown
from robustlab.options import EvaluationOptions


def threat_of(norm: str | None, eps: str | None, threat: str | None = None) -> str:
    """Return the spec of the threat model of --norm and --eps, with eps as typed.

    Args:
        norm, eps: as given on the command line.
        threat: --threat, if it was given.

    Raises:
        SpecError: one of the two is missing, or both ways are used at once.
    """
    if threat is not None:
        raise SpecError(f"--threat {shown(threat)} already says norm and eps: leave out --norm and --eps")
    if norm is None:
        raise SpecError(f"--eps needs a norm: add --norm linf, or write --threat {shown(f'linf(eps={eps})')}")
    if eps is None:
        raise SpecError(f"--norm needs eps: add --eps 8/255, or write --threat {shown(f'{norm}(eps=8/255)')}")
    return f"{norm}(eps={eps})"


@app.command()
@friendly
@with_options(EvaluationOptions)
def evaluate(
    context: typer.Context,
    given: dict[str, Any],
    norm: Annotated[
        str | None,
        typer.Option(metavar="NORM", help="With --eps, in the place of --threat: linf, l2, l1 or l0."),
    ] = None,
    eps: Annotated[
        str | None,
        typer.Option(metavar="EPS", help="The largest distance on the pixel scale [0, 1], such as 8/255."),
    ] = None,
    strict: Annotated[bool, typer.Option("--strict", help="Exit with 1 if a check fails.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", help="Print nothing but warnings and errors.")] = False,
    as_json: Json = False,
    open_report: Open = False,
) -> None:
    """Find out how robust a classifier is. The same command again resumes."""
    from robustlab.cli import browser, interrupt, output, tables, terminal

    if strict and not given["checks"]:
        raise RobustlabError("--strict needs the checks: leave out --no-checks")
    if norm is not None or eps is not None:
        source = context.get_parameter_source("threat")
        asked = source is not None and source.name != "DEFAULT"
        given["threat"] = threat_of(norm, eps, given["threat"] if asked else None)
    show = terminal.TerminalProgress(quiet=quiet or as_json)
    with show, interrupt.orderly(), output.kept_for_the_result():
        import robustlab

        run = robustlab.evaluate(**given, progress=show)
    if as_json:
        sys.stdout.write(run.results.model_dump_json(indent=2) + "\n")
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
