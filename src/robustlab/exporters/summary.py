"""What a program that lists runs shows of one: settings, figures by name, and files."""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import singledispatch
from pathlib import Path

from robustlab.exporters.base import FinishedRun
from robustlab.report.evaluation.facts import facts, settings
from robustlab.report.markdown import code, plain, table
from robustlab.report.text import interval, share
from robustlab.runs.evaluation import Evaluation
from robustlab.runs.records import Figure
from robustlab.runs.results import Results, Row

_FILES = ("report.html", "report.md", "results.json", "images.csv", "card.json")

_FORBIDDEN = re.compile(r"[^\w./ -]+", re.ASCII)
"""Signs that MLflow refuses in a name."""


@dataclass(frozen=True, kw_only=True)
class RunSummary:
    """A finished run as names and values.

    Attributes:
        title: what was evaluated, trained or studied.
        created: when the run ended, as an ISO time.
        settings: what was run, by name.
        tags: facts about the run itself: its kind, its verdict, the command that repeats it.
        metrics: figures by name; shares lie in [0, 1].
        curves: pairs of an epoch, from 1 on, and a value, for each curve of a training.
        text: the main facts in Markdown.
        files: the files that a user wants to see beside them.
    """

    title: str
    created: str
    settings: dict[str, str]
    tags: dict[str, str]
    metrics: dict[str, float]
    curves: dict[str, list[tuple[int, float]]] = field(default_factory=dict)
    text: str
    files: list[Path]


def summary_of(run: FinishedRun) -> RunSummary:
    """Return the summary of a finished run."""
    files = [path for name in _FILES if (path := run.folder / name).is_file()]
    return _summary(run.results, files)


@singledispatch
def _summary(results: object, files: list[Path]) -> RunSummary:
    raise TypeError(type(results).__name__, files)


@_summary.register
def _(results: Evaluation, files: list[Path]) -> RunSummary:
    tags = {"kind": "evaluation", "verdict": results.verdict, "command": results.command}
    return RunSummary(
        title=results.title,
        created=results.created,
        settings=settings(results) | {"parameters": str(results.subject.parameters)},
        tags={name: value for name, value in (tags | _versions(results)).items() if value},
        metrics=dict(_figures(results)),
        text="\n".join(facts(results)),
        files=files,
    )


def _figures(results: Evaluation) -> Iterator[tuple[str, float]]:
    yield from _with_interval("clean_accuracy", results.clean)
    if not results.proofs_only:
        yield from _with_interval("robust_accuracy", results.robust)
    if results.certified is not None:
        yield from _with_interval("certified_accuracy", results.certified)
    if results.certificates is not None and results.certificates.terms:
        yield from _with_interval("certified_accuracy_by_smoothing", results.certificates.certified)
    for number, row in enumerate(results.rows, start=1):
        yield f"after_attack/{number} {_name(row.attack.partition('(')[0])}", row.robust.value
    if results.curve is not None:
        for eps, figure in zip(results.curve.eps, results.curve.robust, strict=True):
            yield f"robust_accuracy_at_eps/{eps:.4g}", figure.value
    for grade in ("fail", "warn", "pass", "skip"):
        yield f"checks/{grade}", len(results.graded(grade))
    yield "forward_passes", results.forwards
    yield "backward_passes", results.backwards
    yield "seconds", results.seconds


@_summary.register
def _(results: Results, files: list[Path]) -> RunSummary:
    claims = {f"claim {claim.id}": claim.verdicts[0].state for claim in results.claims if claim.verdicts}
    networks = {f"{network.id}.objective": network.objective for network in results.networks}
    models = {f"{network.id}.model": network.model for network in results.networks}
    described = {
        "study": results.study,
        "dataset": results.dataset.name,
        "images": str(results.dataset.test),
        "seed": str(results.seed),
        "quick": str(results.quick),
        "device": results.compute.device,
        "precision": results.compute.training_precision,
    }
    return RunSummary(
        title=results.title,
        created=results.created,
        settings=described | models | networks,
        tags={"kind": "study"} | claims | _versions(results),
        metrics=dict(_figures_of_rows(results)),
        curves={
            _name(f"{network.id}/{name}"): [
                (number, epoch[name]) for number, epoch in enumerate(network.epochs, start=1) if name in epoch
            ]
            for network in results.networks
            for name in dict.fromkeys(name for epoch in network.epochs for name in epoch)
        },
        text=_table(results),
        files=files,
    )


def _figures_of_rows(results: Results) -> Iterator[tuple[str, float]]:
    for row in results.rows:
        name = _name(row.id if row.variant is None else f"{row.id}.{row.variant}")
        yield from _with_interval(f"accuracy/{name}", row.accuracy)
        if row.certified is not None:
            yield from _with_interval(f"certified_accuracy/{name}", row.certified)
    for found in results.detections:
        name = _name(found.id if found.variant is None else f"{found.id}.{found.variant}")
        yield f"auroc/{name}", found.auroc.value
    yield "checks/fail", len(results.red_flags)
    yield "forward_passes", sum(cost.forwards for cost in results.cost)
    yield "backward_passes", sum(cost.backwards for cost in results.cost)
    yield "seconds", sum(cost.seconds for cost in results.cost)


def _table(results: Results) -> str:
    lines = [
        [
            plain(title_of(results, row)),
            code(row.threat) if row.threat else "–",
            share(row.accuracy),
            interval(row.accuracy),
        ]
        for row in results.rows
    ]
    return table(["", "threat model", "accuracy", "95 % interval"], lines)


def title_of(results: Results, row: Row) -> str:
    """Return the title of a study's row, with the values of the factors that it depends on."""
    variant = next((f" ({found.title})" for found in results.variants if found.id == row.variant), "")
    return f"{row.title}{variant}"


def _with_interval(name: str, figure: Figure) -> Iterator[tuple[str, float]]:
    yield name, figure.value
    yield f"{name}_low", figure.low
    yield f"{name}_high", figure.high


def _versions(results: Evaluation | Results) -> dict[str, str]:
    return {f"version {name}": version for name, version in results.compute.versions.items()}


def _name(text: str) -> str:
    return _FORBIDDEN.sub("_", text)
