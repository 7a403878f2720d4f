"""The report in Markdown: the tables, for a README, a review or a terminal."""

import re
from collections.abc import Iterable

from robustlab.core.results import Detection, Operating, Row
from robustlab.report import text, words
from robustlab.report.charts import Charts
from robustlab.report.view import View, by_id


def markdown(view: View, charts: Charts) -> str:
    """Return the report in Markdown; it links the charts in ``figures/``."""
    results = view.results
    blocks = [
        f"# {_plain(results.title)}",
        *_banners(view),
        _plain(words.headline(view)),
        *_summary(view),
        *_claims(view),
        *_curves(charts),
        *_rows(view),
        *_detections(view),
        *_cost(view),
    ]
    return "\n\n".join(block for block in blocks if block) + "\n"


def _plain(content: str) -> str:
    """Return a text in which Markdown sees no markup."""
    return re.sub(r"([\\`*\[\]<>|#])", r"\\\1", " ".join(content.split(" ")).replace("\n", " "))


def _code(content: str | None) -> str:
    """Return a spec as code; a table's cell must not hold a bare bar or backtick."""
    return "–" if content is None else f"`{text.spec(content)}`".replace("|", "\\|").replace("\n", " ")


def _table(head: list[str], lines: Iterable[list[str]]) -> str:
    rows = [head, ["---"] * len(head), *lines]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def _banners(view: View) -> list[str]:
    data, found = view.results.dataset, []
    if data.fallback:
        found.append(
            "> **Not the dataset wished for.** All figures are of "
            f"{_plain(data.name)}: {_plain(data.fallback)}"
        )
    if view.results.quick:
        found.append("> **A quick run:** few epochs on a part of the data. Its figures are no results.")
    return found


def _figure(row: Row) -> str:
    return f"{text.share(row.accuracy)} ({text.interval(row.accuracy)})"


def _titled(view: View, row: Row) -> str:
    return f"{row.title} ({view.unit(row.unit)})" if row.unit else row.title


def _summary(view: View) -> list[str]:
    lines = []
    for line in view.lines("summary"):
        reference = text.reference(line.reference) if line.reference is not None else "–"
        rows = [line.rows[0] if line.shared else line.row(unit.id) for unit in view.units]
        lines.append([_plain(line.title), reference, *(_figure(row) if row else "–" for row in rows)])
    table = _table(["Test images", "the study", *(_plain(unit.title) for unit in view.units)], lines)
    notes = [
        f"- **{_plain(unit.title)}** ({text.pixel_range(unit.pixels)}): {_plain(unit.why)} "
        f"{words.agreement(view, unit.id)}".rstrip()
        for unit in view.units
    ]
    notes += [
        f"- {_plain(_titled(view, row))}: {_figure(row)}. {_plain(line.note)}".rstrip()
        for line in view.lines("footnote")
        for row in line.rows
    ]
    return ["## Summary", table, "In brackets: 95 % intervals (Wilson).", "\n".join(notes)]


def _claims(view: View) -> list[str]:
    lines = []
    for claim in view.results.claims:
        for reading in view.readings(claim):
            verdicts = [reading.verdicts.get(unit.id) for unit in view.units]
            cells = [
                f"{'✓ holds' if verdict.holds else '✗ does not hold'}: {_plain(verdict.figures)}"
                if verdict
                else "–"
                for verdict in verdicts
            ]
            lines.append([_plain(claim.text), _plain(reading.title), *cells])
    if not lines:
        return []
    head = ["Claim", "reading", *(_plain(unit.title) for unit in view.units)]
    return ["## Claims", words.verdict_count(view), _table(head, lines)]


def _curves(charts: Charts) -> list[str]:
    images = [f"![{_plain(chart.title)}](figures/{chart.name}.svg)" for _, chart in charts.curves]
    return ["## Curves", *images] if images else []


def _rows(view: View) -> list[str]:
    lines = [
        [
            _plain(row.title),
            _plain(view.unit(row.unit)) or "–",
            _figure(row),
            _code(row.attack),
            _code(row.threat),
            _plain(view.access(row)),
            f"{text.distance(row.distance)} / {text.distance(row.max_distance)}",
            f"{text.passes(row.forwards, row.accuracy.n)} / {text.passes(row.backwards, row.accuracy.n)}",
        ]
        for row in view.results.rows
    ]
    head = ["Measurement", "units", "accuracy", "attack", "threat", "attacker", "mean / largest distance"]
    return ["## All measurements", _table([*head, "forward / backward passes per image"], lines)]


def _operating(point: Operating | None) -> str:
    if point is None:
        return "–"
    return f"{text.share(point.detection_rate)} / {text.share(point.false_positive_rate)}"


def _detections(view: View) -> list[str]:
    def line(detection: Detection) -> list[str]:
        auroc = f"{text.score(detection.auroc.value)} ({text.score_interval(detection.auroc)})"
        unit = _plain(view.unit(detection.unit)) or "–"
        points = [_operating(detection.natural), _operating(detection.calibrated)]
        return [_plain(detection.title), unit, auroc, *points]

    lines = [line(detection) for group in by_id(view.results.detections) for detection in group]
    if not lines:
        return []
    head = [
        "Detection",
        "units",
        "AUROC",
        "natural threshold: detected / false",
        "5 % threshold: detected / false",
    ]
    findings = "\n".join(f"- {_plain(finding)}" for finding in words.detection_findings(view.results))
    return ["## Detection", findings, _table(head, lines)]


def _cost(view: View) -> list[str]:
    lines = [
        [group.title, text.duration(group.seconds), text.count(group.forwards), text.count(group.backwards)]
        for group in view.costs()
    ]
    results = view.results
    compute, data = results.compute, results.dataset
    versions = ", ".join(f"{name} {version}" for name, version in compute.versions.items())
    facts = [
        f"- total time {text.duration(view.seconds)}, peak memory {text.count(results.peak_memory_mb)} MB, "
        f"seed {results.seed}",
        f"- {_plain(compute.device_name)} ({compute.device}), {compute.threads} threads, "
        f"training in {compute.training_precision}",
        f"- {_plain(data.name)}: {_plain(data.source)}; {text.count(data.train)} training, "
        f"{text.count(data.validation)} validation and {text.count(data.test)} test images",
        f"- {_plain(versions)}",
    ]
    return [
        "## Cost",
        _table(["Stages", "time", "forward passes", "backward passes"], lines),
        "\n".join(facts),
    ]
