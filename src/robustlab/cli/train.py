"""``robustlab train``."""

from typing import Any

from robustlab.cli.options import with_options
from robustlab.cli.shared import Json, Open, Quiet, app, friendly
from robustlab.cli.texts import print_json
from robustlab.training_options import TrainOptions


@app.command()
@friendly
@with_options(TrainOptions)
def train(
    given: dict[str, Any],
    quiet: Quiet = False,
    as_json: Json = False,
    open_report: Open = False,
) -> None:
    """Train one network to be robust, and write its card. The same command again resumes."""
    from robustlab.cli import browser, interrupt, output, tables, terminal

    show = terminal.TerminalProgress(quiet=quiet or as_json)
    with show, interrupt.orderly(), output.kept_for_the_result():
        import robustlab

        run = robustlab.train(**given, progress=show)
    if as_json:
        print_json(run.card)
    elif not quiet:
        tables.show_training(run)
    if open_report:
        browser.show(run.folder / "report.html")
