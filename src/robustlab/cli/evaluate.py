"""``robustlab evaluate``."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from robustlab.cli.norm_and_eps import Eps, Norm, read_threat
from robustlab.cli.options import with_options
from robustlab.cli.shared import Json, Open, Quiet, app, friendly
from robustlab.cli.texts import echo
from robustlab.core.errors import RobustlabError
from robustlab.options import EvaluationOptions

if TYPE_CHECKING:
    from robustlab.evaluation_run import EvaluationRun
    from robustlab.evaluations import Evaluations

Models = Annotated[
    str | None,
    typer.Option(
        metavar="FILE",
        help="Instead of MODEL: a text file with a model on each line, and options of its own behind it.",
    ),
]


@app.command()
@friendly
@with_options(EvaluationOptions, instead_of_place="models")
def evaluate(
    context: typer.Context,
    given: dict[str, Any],
    norm: Norm = None,
    eps: Eps = None,
    models: Models = None,
    strict: Annotated[bool, typer.Option("--strict", help="Exit with 1 if a check fails.")] = False,
    quiet: Quiet = False,
    as_json: Json = False,
    open_report: Open = False,
) -> None:
    """Find out how robust a classifier is. The same command again resumes.

    With a list of eps, or with --models, several evaluations run, and a page compares them.
    """
    from robustlab.cli import browser, interrupt, output, terminal
    from robustlab.cli.model_list import read_model_list
    from robustlab.core.eps_lists import has_eps_list

    if strict and not given["checks"]:
        raise RobustlabError("--strict needs the checks: leave out --no-checks")
    read_threat(context, given, norm, eps)
    many = models is not None or has_eps_list(given.get("threat", ""))
    if many:
        given["models"] = [given.pop("model")] if models is None else read_model_list(models)
    show = terminal.TerminalProgress(quiet=quiet or as_json)
    with show, interrupt.orderly(), output.kept_for_the_result():
        import robustlab

        if many:
            done = robustlab.evaluate_many(**given, progress=show)
        else:
            run = robustlab.evaluate(**given, progress=show)
            done = robustlab.Evaluations(folder=run.folder, runs=[run], failed={})
    if len(done.runs) == 1:
        _show(done.runs[0], quiet=quiet, as_json=as_json)
    else:
        _show_all(done, quiet=quiet, as_json=as_json)
    if open_report:
        browser.show(done.page)
    if done.failed:
        raise RobustlabError(f"not evaluated: {'; '.join(done.messages)}")
    if strict and any(run.results.red_flags for run in done.runs):
        raise typer.Exit(1)


def _show(run: "EvaluationRun", *, quiet: bool, as_json: bool) -> None:
    from robustlab.cli import tables

    if as_json:
        echo(run.results.model_dump_json(indent=2))
    elif not quiet:
        tables.show_evaluation(run)
    for check in run.results.red_flags:  # a warning, so it is shown even when quiet
        typer.echo(f"red flag: {check.title}: {check.found}", err=True)
    if not (as_json or quiet):
        tables.show_verdict(run)


def _show_all(done: "Evaluations", *, quiet: bool, as_json: bool) -> None:
    """Print the evaluations side by side."""
    from robustlab.cli import comparison, tables

    if as_json:
        echo(done.table().model_dump_json(indent=2))
    elif not quiet:
        comparison.show_table(done.table())
    for run in done.runs:
        for check in run.results.red_flags:
            typer.echo(f"red flag: {run.folder.name}: {check.title}: {check.found}", err=True)
    if not (as_json or quiet):
        echo(f"Comparison: {tables.shown_path(done.page)}")
