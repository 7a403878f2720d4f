"""A section of a model card of the Hugging Face hub, with its metadata."""

import json
from collections.abc import Iterator
from typing import Any, NamedTuple

from robustlab import __version__
from robustlab.core.spec import register
from robustlab.core.text import one_line
from robustlab.exporters.base import FinishedRun, TextExporter
from robustlab.exporters.summary import title_of
from robustlab.report.markdown import code, plain, table
from robustlab.report.text import interval, share
from robustlab.runs.evaluation import Evaluation
from robustlab.runs.records import Figure
from robustlab.runs.results import Results

_DOUBT = " (not to be believed: a check failed)"


class _Measured(NamedTuple):
    """A figure of a model, on the clean images or under a threat model."""

    model: str
    name: str
    figure: Figure
    dataset: str
    split: str


@register("hf_card")
class HFCard(TextExporter):
    """Writes a section of a model card for the Hugging Face hub, with the metadata of its figures.

    The metadata is the block ``model-index`` at the beginning. Its metrics are the accuracy on clean images
    and the robust accuracy, with the threat model in its name.
    """

    def text(self, run: FinishedRun) -> str:
        results = run.results
        found = [*(_of_evaluation(results) if isinstance(results, Evaluation) else _of_study(results))]
        lines = [
            [plain(one.model), plain(one.name), share(one.figure), interval(one.figure), f"{one.figure.n:,}"]
            for one in found
        ]
        parts = [
            "\n".join(["---", *_yaml({"model-index": [*_models(found)]}), "---"]),
            "## Robustness",
            table(["Model", "figure", "value", "95 % interval", "images"], lines),
            *_remarks(results),
            f"Measured by robustlab {results.compute.versions.get('robustlab', __version__)}.",
        ]
        return "\n\n".join(parts) + "\n"


def _of_evaluation(results: Evaluation) -> Iterator[_Measured]:
    of = results.subject.name, results.images.name, results.images.split
    doubt = _DOUBT if results.doubtful else ""
    figures: list[tuple[str, Figure | None]] = [
        ("Accuracy", results.clean),
        (f"Robust accuracy, {results.threat}{doubt}", None if results.proofs_only else results.robust),
        (f"Certified accuracy, {results.threat}", results.certified),
    ]
    for name, figure in figures:
        if figure is not None:
            yield _Measured(of[0], name, figure, *of[1:])


def _of_study(results: Results) -> Iterator[_Measured]:
    titles = {network.id: network.title for network in results.networks}
    for row in results.rows:
        of, title = results.dataset.name, title_of(results, row) + (_DOUBT if row.failed else "")
        model = titles.get(row.model, row.model)
        name = f"Robust accuracy, {row.threat}, {title}" if row.threat else f"Accuracy, {title}"
        yield _Measured(model, name, row.accuracy, of, "test")
        if row.certified is not None:
            name = f"Certified accuracy, {row.threat}, {title_of(results, row)}"
            yield _Measured(model, name, row.certified, of, "test")


def _models(found: list[_Measured]) -> Iterator[dict[str, Any]]:
    """Yield the entry of each model, as the hub reads it."""
    for model in dict.fromkeys(one.model for one in found):
        mine = [one for one in found if one.model == model]
        yield {
            "name": model,
            "results": [
                {
                    "task": {"type": "image-classification", "name": "Image Classification"},
                    "dataset": {"type": mine[0].dataset, "name": mine[0].dataset, "split": mine[0].split},
                    "metrics": [
                        {"type": "accuracy", "name": one.name, "value": round(one.figure.value, 6)}
                        for one in mine
                    ],
                }
            ],
        }


def _remarks(results: Evaluation | Results) -> Iterator[str]:
    if isinstance(results, Evaluation):
        yield plain(results.verdict)
        yield f"Attacks: {code(results.attacks)}" if results.attacks else "No attack ran."
        if results.command and "```" not in results.command:
            yield f"```sh\n{results.command}\n```"
        return
    for title, check in results.red_flags:
        yield f"- **not to be believed**: {plain(title)}: {plain(check.found)}"


def _yaml(value: Any, indent: str = "") -> Iterator[str]:
    """Yield the lines of mappings and lists in YAML. A text is written as JSON does, which is YAML too."""
    for name, part in value.items() if isinstance(value, dict) else ((None, part) for part in value):
        start = "-" if name is None else f"{name}:"
        if isinstance(part, dict | list):
            lines = [*_yaml(part, "  " if name is None or isinstance(part, dict) else "")]
            if name is None:
                lines[0], start = f"- {lines[0].lstrip()}", ""
            yield from (f"{indent}{line}" for line in ([start] if start else []) + lines)
        else:
            text = one_line(part) if isinstance(part, str) else part
            yield f"{indent}{start} {json.dumps(text, ensure_ascii=False)}"
