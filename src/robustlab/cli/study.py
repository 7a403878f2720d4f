"""``robustlab study``."""

import sys
from typing import Annotated

import typer

from robustlab.cli.shared import (
    DataRoot,
    Device,
    Json,
    Open,
    Overwrite,
    Precision,
    app,
    friendly,
)


@app.command()
@friendly
def study(
    recipe: Annotated[str, typer.Argument(help="A TOML file, or the name of a shipped recipe.")] = "mnist",
    out: Annotated[
        str | None,
        typer.Option(metavar="FOLDER", help="The run's folder. [default: runs/NAME, runs/NAME-quick]"),
    ] = None,
    overwrite: Overwrite = False,
    dataset: Annotated[
        str | None, typer.Option(help="Overrides the recipe's data set; one of `ls datasets`.")
    ] = None,
    data_root: DataRoot = None,
    device: Annotated[Device, typer.Option(help="Where to compute.")] = Device.AUTO,
    precision: Annotated[
        Precision, typer.Option(help="Of the matrix products in training.")
    ] = Precision.AUTO,
    seed: Annotated[int, typer.Option(min=0, help="Of every random choice.")] = 0,
    quick: Annotated[bool, typer.Option("--quick", help="A few epochs on a part of the images.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", help="Print nothing but warnings and errors.")] = False,
    as_json: Json = False,
    open_report: Open = False,
) -> None:
    """Train, attack, defend, detect and report, as a recipe says. The same command again resumes."""
    from robustlab.cli import browser, interrupt, output, tables, terminal

    show = terminal.TerminalProgress(quiet=quiet or as_json)
    with show, interrupt.orderly(), output.kept_for_the_result():
        import robustlab

        run = robustlab.run_study(
            recipe,
            out=out,
            overwrite=overwrite,
            dataset=dataset,
            data_root=data_root,
            device=device.value,
            precision=precision.value,
            seed=seed,
            quick=quick,
            progress=show,
        )
    if as_json:
        sys.stdout.write(run.results.model_dump_json(indent=2) + "\n")
    elif not quiet:
        tables.show_results(run)
    for row, flag in run.results.red_flags:  # a warning, so it is shown even when quiet
        typer.echo(f"red flag: {row}: {flag.found}", err=True)
    if open_report:
        browser.show(run.folder / "report.html")
