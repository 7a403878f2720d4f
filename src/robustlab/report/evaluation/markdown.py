"""The report of an evaluation in Markdown: its figures and tables, for a README, a review or a terminal."""

from collections.abc import Sequence

from robustlab.core.text import level
from robustlab.report import text
from robustlab.report.evaluation import words
from robustlab.report.evaluation.charts import EvaluationCharts
from robustlab.report.evaluation.facts import facts, figure
from robustlab.report.evaluation.view import EvaluationView
from robustlab.report.markdown import code, plain, table
from robustlab.runs.evaluation import AttackRow, CheckRecord
from robustlab.runs.records import Figure

_GRADES = {"fail": "✗ fail", "warn": "! warn", "pass": "✓ pass", "skip": "– skip"}


def markdown(view: EvaluationView, charts: EvaluationCharts) -> str:
    """Return the report in Markdown; it links the charts in ``figures/``."""
    blocks = [
        f"# {plain(view.results.title)}",
        *_alarm(view),
        *_headline(view),
        *_attacks(view, charts),
        *_curve(view, charts),
        *_checks(view),
        *_broken(view, charts),
        *_cost(view),
    ]
    return "\n\n".join(block for block in blocks if block) + "\n"


def _alarm(view: EvaluationView) -> list[str]:
    if not view.results.red_flags:
        return []
    reasons = [
        f"> - **{plain(check.title)}**: {plain(words.reason(check))} {plain(check.meaning)}"
        for check in view.results.red_flags
    ]
    cry, said = words.alarm(view)
    return ["\n".join([f"> **{cry}** {said}", ">", *reasons])]


def _headline(view: EvaluationView) -> list[str]:
    results = view.results
    remarks = [f"{remark}." for remark in results.remarks]
    sentences = [
        words.meaning(view),
        words.bounds(view),
        words.proofs(view),
        words.not_finite(view),
        *remarks,
    ]
    return ["\n".join(facts(results)), plain(" ".join(part for part in sentences if part))]


def _attacks(view: EvaluationView, charts: EvaluationCharts) -> list[str]:
    def line(number: int, row: AttackRow) -> list[str]:
        passes = text.count(row.forwards)
        passes = passes if view.queries else f"{passes} / {text.count(row.backwards)}"
        return [
            str(number),
            code(row.attack),
            figure(row.robust),
            text.count(row.broken),
            text.count(row.attacked),
            passes,
            text.duration(row.seconds),
        ]

    if not view.results.rows:
        return []
    lines = [line(number, row) for number, row in enumerate(view.results.rows, start=1)]
    cost = "queries" if view.queries else "passes"
    head = ["", "Attack", "accuracy left", "first to break", "images met", cost, "time"]
    notes = [
        words.order(view),
        words.unconfirmed(view),
        "" if view.queries else "Passes: forward / backward.",
    ]
    chart = f"![{charts.cascade.title}](figures/cascade.svg)" if charts.cascade else ""
    grid = view.corruptions
    return [
        "## Attacks",
        " ".join(note for note in notes if note),
        table(head, lines),
        chart,
        words.corrupted(view),
        table(["Corruption", *grid.severities], [[plain(name), *cells] for name, cells in grid.rows])
        if grid
        else "",
    ]


def _curve(view: EvaluationView, charts: EvaluationCharts) -> list[str]:
    curve = view.results.curve
    if curve is None or charts.curve is None:
        return []
    proofs: Sequence[Figure | None] = curve.certified or [None] * len(curve.eps)
    lines = [
        [level(eps), figure(robust), figure(certified) if certified else "–"]
        for eps, robust, certified in zip(curve.eps, curve.robust, proofs, strict=True)
    ]
    return [
        "## Robust accuracy against eps",
        f"![{charts.curve.title}](figures/robust-curve.svg)",
        words.cliff(view),
        table(["eps", "attacked", "proven"], lines),
    ]


def _checks(view: EvaluationView) -> list[str]:
    def line(check: CheckRecord) -> list[str]:
        texts = [check.title, check.found, check.expected, check.meaning]
        return [_GRADES[check.grade], *(plain(part) for part in texts), code(f"docs/flags.md#{check.id}")]

    if not view.results.checks:
        return ["## Checks", "No check was computed: the result has not been checked."]
    head = ["Grade", "check", "found", "expected", "a failure would mean", "explained in"]
    return ["## Checks", table(head, [line(check) for check in view.checks])]


def _broken(view: EvaluationView, charts: EvaluationCharts) -> list[str]:
    if not view.flips:
        return ["## Broken images", words.nothing_broken(view)] if view.broken == 0 else []
    name = view.class_name
    lines = [
        [plain(name(flip.label)), plain(name(flip.prediction)), text.count(flip.n)]
        for flip in view.flips[:20]
    ]
    shown = [chart for chart in (charts.flips, charts.distances) if chart]
    wanted = [
        [plain(name(part.label)), plain(name(part.target)), text.count(part.reached), text.count(part.tried)]
        for part in view.targets[:20]
    ]
    return [
        "## Broken images",
        table(["class", "taken for", "images"], lines),
        words.reached(view) if wanted else "",
        table(["class", "target", "reached", "tried"], wanted) if wanted else "",
        "\n".join(f"![{chart.title}](figures/{chart.name}.svg)" for chart in shown),
    ]


def _spent(view: EvaluationView, forwards: int, backwards: int) -> list[str]:
    return [text.count(forwards), *([] if view.queries else [text.count(backwards)])]


def _cost(view: EvaluationView) -> list[str]:
    results = view.results
    lines = [
        [
            part.title,
            *_spent(view, part.forwards, part.backwards),
            "–" if part.seconds is None else text.duration(part.seconds),
        ]
        for part in view.spendings
    ]
    total = [*_spent(view, results.forwards, results.backwards), text.duration(results.seconds)]
    compute, images = results.compute, results.images
    versions = ", ".join(f"{name} {version}" for name, version in compute.versions.items())
    facts = [
        f"- peak memory {text.count(results.peak_memory_mb)} MB, seed {results.seed}",
        f"- {plain(text.machine(compute))}; {text.search(compute)}, "
        f"successes confirmed in {plain(results.subject.dtype)}",
        f"- model: {plain(results.subject.source)}, {text.count(results.subject.parameters)} parameters, "
        f"images in {plain(results.subject.dtype)}, "
        f"SHA-256 {code(results.subject.sha256)}",
        f"- images: {plain(images.name)}, {plain(images.split)}, SHA-256 {code(images.sha256)}",
        f"- {plain(versions)}",
    ]
    heads = ["queries"] if view.queries else ["forward passes", "backward passes"]
    table_ = table(["", *heads, "time"], [*lines, ["Total", *total]])
    again = f"```sh\n{results.command}\n```" if results.command and "```" not in results.command else ""
    return ["## Cost and origin", table_, "\n".join(facts), again]
