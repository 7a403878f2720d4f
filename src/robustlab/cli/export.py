"""``robustlab export``."""

from typing import Annotated

import typer

from robustlab.cli.shared import app, friendly
from robustlab.cli.texts import echo


@app.command()
@friendly
def export(
    run: Annotated[str, typer.Argument(help="The folder of a finished run.")],
    to: Annotated[
        str,
        typer.Option(
            metavar="EXPORTER",
            help="mlflow, tensorboard, wandb, hf-card or junit, also with arguments: mlflow(experiment=x); "
            "`ls exporters` explains them.",
        ),
    ],
    out: Annotated[
        str | None,
        typer.Option(
            metavar="FILE|FOLDER|ADDRESS",
            help="Where to; default: where the program expects it, of hf-card and junit standard output (-).",
        ),
    ] = None,
) -> None:
    """Give a finished run to another program, such as MLflow or the Hugging Face hub."""
    import robustlab
    from robustlab.core.text import printable

    echo(printable(robustlab.export(run, to, None if out == "-" else out)).rstrip("\n"))
