"""``robustlab evaluate``."""

import sys
from enum import StrEnum
from typing import Annotated

import typer

from robustlab.cli.shared import DataRoot, Device, Json, Open, Overwrite, Precision, app, friendly
from robustlab.core.errors import RobustlabError


class ModeName(StrEnum):
    """Choices of ``--mode``."""

    VERDICT = "verdict"
    MAX_LOSS = "max-loss"


@app.command()
@friendly
def evaluate(
    model: Annotated[
        str,
        typer.Option(
            help="FILE.py:NAME, package.module:NAME, a name of `ls zoo`, run(FOLDER, NETWORK) of a study, a "
            ".safetensors or TorchScript file, or a composition: purifier(network=..., classifier=...)."
        ),
    ],
    weights: Annotated[
        str | None, typer.Option(metavar="FILE", help="Weights to load: safetensors or torch.save.")
    ] = None,
    network: Annotated[str | None, typer.Option(help="Which network of the study's run.")] = None,
    name: Annotated[str | None, typer.Option(help="What to call the classifier.")] = None,
    mean: Annotated[
        str | None,
        typer.Option(
            help="Normalisation to put in front, with --std: mnist, cifar10, imagenet, 0.5, or numbers."
        ),
    ] = None,
    std: Annotated[
        str | None, typer.Option(help="See --mean; numbers: one, or one per channel, comma-separated.")
    ] = None,
    scale: Annotated[float, typer.Option(help="Multiply the images by this first: 255 for 0..255.")] = 1.0,
    dataset: Annotated[
        str, typer.Option(help="One of `ls datasets`, or FILE.py:FUNCTION that returns (images, labels).")
    ] = "mnist",
    data_root: DataRoot = None,
    threat: Annotated[
        str, typer.Option(help="What the attacker may do, pixels in [0, 1]: linf, l2, l1, l0 or unbounded.")
    ] = "linf(eps=0.3)",
    attacks: Annotated[
        list[str] | None,
        typer.Option(
            help="Attacks and ensembles, in order, comma-separated or repeated. [default: standard]"
        ),
    ] = None,
    n: Annotated[
        int | None,
        typer.Option("-n", help="How many images. [default: 1000 of a named dataset, all of your own]"),
    ] = None,
    mode: Annotated[
        ModeName, typer.Option(help="Stop at an image's first success, or spend the full budget.")
    ] = ModeName.VERDICT,
    eight_bit: Annotated[
        bool, typer.Option("--eight-bit", help="Only images that an 8-bit file can hold count.")
    ] = False,
    curve: Annotated[bool, typer.Option("--curve", help="Also robust accuracy against eps.")] = False,
    checks: Annotated[bool, typer.Option(help="Compute the reasons to doubt the figure.")] = True,
    certify: Annotated[bool, typer.Option(help="Look for proofs before attacking.")] = True,
    samples: Annotated[
        int | None, typer.Option(min=1, help="Passes per point through a random classifier.")
    ] = None,
    surrogate: Annotated[
        list[str] | None, typer.Option(help="Another classifier, for attacks that transfer; repeatable.")
    ] = None,
    device: Annotated[Device, typer.Option(help="Where to compute.")] = Device.AUTO,
    precision: Annotated[
        Precision, typer.Option(help="Of the search; successes are confirmed in fp32.")
    ] = Precision.AUTO,
    batch_size: Annotated[
        int | None,
        typer.Option(
            min=1, help="Images per pass. [default: at most 250, on a GPU 1000, as memory suffices]"
        ),
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Of every random choice.")] = 0,
    out: Annotated[
        str | None,
        typer.Option(
            metavar="FOLDER", help="The run's folder. [default: runs/evaluate-NAME-DATA-NORM-EPS-HASH]"
        ),
    ] = None,
    overwrite: Overwrite = False,
    strict: Annotated[bool, typer.Option("--strict", help="Exit with 1 if a check fails.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", help="Print nothing but warnings and errors.")] = False,
    as_json: Json = False,
    open_report: Open = False,
) -> None:
    """Find out how robust a classifier is. The same command again resumes."""
    from robustlab.cli import browser, interrupt, output, tables, terminal

    if strict and not checks:
        raise RobustlabError("--strict needs the checks: leave out --no-checks")
    show = terminal.TerminalProgress(quiet=quiet or as_json)
    with show, interrupt.orderly(), output.kept_for_the_result():
        import robustlab

        run = robustlab.evaluate(
            model,
            weights=weights,
            network=network,
            name=name,
            mean=mean,
            std=std,
            scale=scale,
            dataset=dataset,
            data_root=data_root,
            threat=threat,
            attacks=attacks or "standard",
            n=n,
            mode=mode.value,
            eight_bit=eight_bit,
            curve=curve,
            checks=checks,
            certify=certify,
            samples=samples,
            surrogates=surrogate or (),
            device=device.value,
            precision=precision.value,
            batch_size=batch_size,
            seed=seed,
            out=out,
            overwrite=overwrite,
            progress=show,
        )
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
