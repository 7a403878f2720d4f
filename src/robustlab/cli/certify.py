"""``robustlab certify``."""

from typing import Any

import typer

from robustlab.certify_options import CertifyOptions
from robustlab.cli.norm_and_eps import Eps, Norm, read_threat
from robustlab.cli.options import with_options
from robustlab.cli.shared import Json, Open, Quiet, app, friendly
from robustlab.cli.texts import echo


@app.command()
@friendly
@with_options(CertifyOptions)
def certify(
    context: typer.Context,
    given: dict[str, Any],
    norm: Norm = None,
    eps: Eps = None,
    quiet: Quiet = False,
    as_json: Json = False,
    open_report: Open = False,
) -> None:
    """Prove for each image that no attack can succeed, without an attack. The same command again resumes."""
    from robustlab.cli import browser, interrupt, output, terminal

    read_threat(context, given, norm, eps)
    show = terminal.TerminalProgress(quiet=quiet or as_json)
    with show, interrupt.orderly(), output.kept_for_the_result():
        import robustlab

        run = robustlab.certify_model(**given, progress=show)
    if as_json:
        echo(run.results.model_dump_json(indent=2))
    elif not quiet:
        from robustlab.cli import certificates

        certificates.show(run)
    if open_report:
        browser.show(run.folder / "report.html")
