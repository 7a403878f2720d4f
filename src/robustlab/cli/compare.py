"""``robustlab compare`` and ``robustlab gate``."""

import atexit
import contextlib
import gc
import os
from collections.abc import Iterator
from typing import Annotated

import typer

from robustlab.cli.shared import Json, app, friendly
from robustlab.cli.texts import echo
from robustlab.core.text import printable

_PLUGINS = "PYDANTIC_DISABLE_PLUGINS"


@contextlib.contextmanager
def _quick() -> Iterator[None]:
    """Leave out what a command that reads two runs does not need: garbage collection and pydantic's plugins.

    Such a plugin watches a user's own models, and none is used here.
    """
    before = os.environ.get(_PLUGINS)
    os.environ[_PLUGINS] = "__all__"
    gc.disable()
    atexit.register(gc.freeze)  # else Python collects all once more when the process ends
    try:
        yield
    finally:
        gc.enable()
        del os.environ[_PLUGINS]
        if before is not None:
            os.environ[_PLUGINS] = before


@app.command()
@friendly
@_quick()
def compare(
    runs: Annotated[list[str], typer.Argument(help="Folders of evaluations, at least two.")],
    html: Annotated[str | None, typer.Option(metavar="FILE", help="Write a page with charts.")] = None,
    csv: Annotated[str | None, typer.Option(metavar="FILE", help="Write the figures for programs.")] = None,
    markdown: Annotated[bool, typer.Option("--markdown", help="Print the table in Markdown.")] = False,
    latex: Annotated[bool, typer.Option("--latex", help="Print the table in LaTeX.")] = False,
    as_json: Json = False,
) -> None:
    """Compare evaluations: two image by image, more in a table; any models, images and threat models."""
    from robustlab.cli import comparison
    from robustlab.core.errors import RobustlabError

    if markdown + latex + as_json > 1:
        raise RobustlabError("give only one of --markdown, --latex and --json")
    table, pair = comparison.compared(runs)
    written = comparison.write(table, html=html, csv=csv)
    if as_json:
        echo((pair or table).model_dump_json(indent=2))
    elif markdown or latex:
        comparison.print_source(table, latex=latex)
    elif pair:
        comparison.show_comparison(pair)
    else:
        comparison.show_table(table)
    for path in [] if markdown or latex or as_json else written:
        echo(f"Written: {printable(path)}")


@app.command()
@friendly
@_quick()
def gate(
    run: Annotated[str, typer.Argument(help="An evaluation's folder.")],
    min_robust: Annotated[float | None, typer.Option(help="The least robust accuracy, such as 0.9.")] = None,
    min_clean: Annotated[float | None, typer.Option(help="The least clean accuracy.")] = None,
    min_certified: Annotated[float | None, typer.Option(help="The least certified accuracy.")] = None,
    confident: Annotated[
        bool, typer.Option("--confident", help="Take the lower end of the 95 % interval for these.")
    ] = False,
    baseline: Annotated[
        str | None, typer.Option(metavar="FOLDER", help="An earlier evaluation to compare with.")
    ] = None,
    max_drop: Annotated[
        float | None, typer.Option(help="How far robust accuracy may fall below the baseline's. [default: 0]")
    ] = None,
    allow_fewer_images: Annotated[
        bool,
        typer.Option(
            "--allow-fewer-images", help="Decide on a part of the baseline's images, if only those are there."
        ),
    ] = False,
    strict: Annotated[bool, typer.Option("--strict", help="A red flag fails the gate.")] = False,
    markdown: Annotated[
        str | None,
        typer.Option(
            metavar="FILE", help="Write the decision as Markdown; -, here and below: standard output."
        ),
    ] = None,
    junit: Annotated[
        str | None, typer.Option(metavar="FILE", help="Write it as JUnit XML, a test for each condition.")
    ] = None,
    html: Annotated[str | None, typer.Option(metavar="FILE", help="Write it as a page.")] = None,
    as_json: Json = False,
) -> None:
    """Decide whether an evaluation is good enough. Exit code 0: it is; 1: it is not; 2: an error."""
    import robustlab
    from robustlab.cli import comparison

    files = {"markdown": markdown, "junit": junit, "html": html}
    comparison.check_files(files, as_json=as_json)
    result = robustlab.gate(
        run,
        min_robust=min_robust,
        min_clean=min_clean,
        min_certified=min_certified,
        confident=confident,
        baseline=baseline,
        max_drop=max_drop,
        allow_fewer_images=allow_fewer_images,
        strict=strict,
    )
    comparison.write_files(run, result, files)
    if as_json:
        echo(result.model_dump_json(indent=2))
    elif "-" not in files.values():
        comparison.show_gate(result)
    if not result.passed:
        raise typer.Exit(1)
