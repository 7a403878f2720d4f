"""``robustlab study``."""

from typing import Any

import typer

from robustlab.cli.options import with_options
from robustlab.cli.shared import Json, Open, Quiet, app, friendly
from robustlab.cli.texts import echo
from robustlab.options import StudyOptions


@app.command()
@friendly
@with_options(StudyOptions)
def study(
    given: dict[str, Any],
    quiet: Quiet = False,
    as_json: Json = False,
    open_report: Open = False,
) -> None:
    """Train, attack, defend, detect and report, as a recipe says. The same command again resumes."""
    from robustlab.cli import browser, interrupt, output, tables, terminal

    show = terminal.TerminalProgress(quiet=quiet or as_json)
    with show, interrupt.orderly(), output.kept_for_the_result():
        import robustlab

        run = robustlab.run_study(**given, progress=show)
    if as_json:
        echo(run.results.model_dump_json(indent=2))
    elif not quiet:
        tables.show_results(run)
    for row, flag in run.results.red_flags:  # a warning, so it is shown even when quiet
        typer.echo(f"red flag: {row}: {flag.found}", err=True)
    if open_report:
        browser.show(run.folder / "report.html")
