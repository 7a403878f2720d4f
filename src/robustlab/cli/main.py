"""``robustlab``: study, report, ls, doctor."""

import functools
import sys
from collections.abc import Callable
from enum import StrEnum
from pathlib import Path
from typing import Annotated, ParamSpec

import typer

from robustlab.core.errors import RobustlabError

P = ParamSpec("P")

app = typer.Typer(
    name="robustlab",
    help="Finds out how robust an image classifier really is, and makes it more robust.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)


def _friendly(command: Callable[P, None]) -> Callable[P, None]:
    """Turn a user's mistake into one line and exit code 2, and Ctrl-C into a kind word and 130."""

    @functools.wraps(command)
    def run(*args: P.args, **kwargs: P.kwargs) -> None:
        try:
            command(*args, **kwargs)
        except RobustlabError as error:
            typer.echo(f"robustlab: error: {error}", err=True)
            raise typer.Exit(error.exit_code) from None
        except KeyboardInterrupt:
            typer.echo("\nStopped. What is finished is kept: the same command goes on from there.", err=True)
            raise typer.Exit(130) from None

    return run


class Device(StrEnum):
    """Choices of ``--device``."""

    AUTO = "auto"
    CPU = "cpu"
    CUDA = "cuda"
    MPS = "mps"


class Precision(StrEnum):
    """Choices of ``--precision``."""

    AUTO = "auto"
    FP32 = "fp32"
    BF16 = "bf16"


class DatasetName(StrEnum):
    """Choices of ``--dataset``."""

    AUTO = "auto"
    MNIST = "mnist"
    DIGITS = "digits"


DataRoot = Annotated[
    Path | None,
    typer.Option(
        help="Folder to look for data in first; then ROBUSTLAB_DATA, ./data and the user's cache folder."
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON on standard output and nothing else there.")]
Open = Annotated[bool, typer.Option("--open", help="Open the report in a browser, if there is a display.")]


@app.command()
@_friendly
def study(
    recipe: Annotated[str, typer.Argument(help="A TOML file, or the name of a shipped recipe.")] = "mnist",
    out: Annotated[
        Path | None, typer.Option(help="The run's folder. [default: runs/NAME, runs/NAME-quick]")
    ] = None,
    dataset: Annotated[DatasetName | None, typer.Option(help="Overrides the recipe's data set.")] = None,
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
    from robustlab.cli import browser, tables, terminal

    show = terminal.TerminalProgress(quiet=quiet or as_json)
    with show:
        import robustlab

        run = robustlab.run_study(
            recipe,
            out=out,
            dataset=dataset.value if dataset else None,
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
    if open_report:
        browser.show(run.folder / "report.html")


@app.command()
@_friendly
def report(
    run: Annotated[Path, typer.Argument(help="The folder of a finished run.")],
    open_report: Open = False,
) -> None:
    """Write the report of a finished run anew."""
    import robustlab
    from robustlab.cli import browser

    path = robustlab.write_report(run)
    typer.echo(path)
    if open_report:
        browser.show(path)


@app.command(name="ls")
@_friendly
def list_units(
    kind: Annotated[str | None, typer.Argument(help="Only this kind, e.g. attacks.")] = None,
    as_json: Json = False,
) -> None:
    """List the attacks, defenses, detectors, datasets, models and recipes there are."""
    from robustlab.cli import listing

    listing.show(kind, as_json=as_json)


@app.command()
@_friendly
def doctor(data_root: DataRoot = None, as_json: Json = False) -> None:
    """Show what is installed, what the machine can do and which data is found; exit with 2 on a problem."""
    from robustlab.cli import doctor as checks

    checks.show(data_root, as_json=as_json)


def main() -> None:
    """Run the command line."""
    app()
