"""``robustlab certify``."""

import sys
from typing import Annotated, Any

import typer

from robustlab.certify_options import CertifyOptions
from robustlab.cli.options import with_options
from robustlab.cli.shared import Json, Open, app, friendly


@app.command()
@friendly
@with_options(CertifyOptions)
def certify(
    given: dict[str, Any],
    quiet: Annotated[bool, typer.Option("--quiet", help="Print nothing but warnings and errors.")] = False,
    as_json: Json = False,
    open_report: Open = False,
) -> None:
    """Prove for each image that no attack can succeed, without an attack. The same command again resumes."""
    from robustlab.cli import browser, interrupt, output, terminal

    show = terminal.TerminalProgress(quiet=quiet or as_json)
    with show, interrupt.orderly(), output.kept_for_the_result():
        import robustlab

        run = robustlab.certify_model(**given, progress=show)
    if as_json:
        sys.stdout.write(run.results.model_dump_json(indent=2) + "\n")
    elif not quiet:
        from robustlab.cli import certificates

        certificates.show(run)
    if open_report:
        browser.show(run.folder / "report.html")
