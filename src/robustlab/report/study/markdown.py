"""The report in Markdown: the tables, for a README, a review or a terminal."""

from robustlab.report import text
from robustlab.report.markdown import code, plain, table
from robustlab.report.study import words
from robustlab.report.study.charts import StudyCharts
from robustlab.report.study.view import StudyView, by_id
from robustlab.runs.results import ClaimVerdict, Detection, Operating, Row


def markdown(view: StudyView, charts: StudyCharts) -> str:
    """Return the report in Markdown; it links the charts in ``figures/``."""
    results = view.results
    blocks = [
        f"# {plain(results.title)}",
        *_banners(view),
        plain(words.headline(view)),
        *_findings(view),
        *_summary(view),
        *_claims(view),
        *_curves(charts),
        *_rows(view),
        *_detections(view),
        *_cost(view),
    ]
    return "\n\n".join(block for block in blocks if block) + "\n"


def _banners(view: StudyView) -> list[str]:
    data, banners = view.results.dataset, []
    if view.results.red_flags:
        flags = [f"> - {plain(row)}: {plain(flag.found)}" for row, flag in view.results.red_flags]
        cry = "> **Do not believe these rows:** a check failed there."
        banners.append("\n".join([cry, ">", *flags]))
    if data.fallback:
        banners.append(
            f"> **Not the dataset wished for.** All figures are of {plain(data.name)}: {plain(data.fallback)}"
        )
    if view.results.quick:
        zoo = [
            f"{plain(network.title)} ({plain(network.zoo)})"
            for network in view.results.networks
            if network.zoo is not None
        ]
        kept = " Networks of the zoo, which the recipe made on all images, were not trained again: "
        banners.append(
            "> **A quick run:** few epochs on a part of the data. Its figures are not the whole study's."
            f"{kept + ', '.join(zoo) + '.' if zoo else ''}"
            " Claims that need more images are marked as not shown."
        )
    return banners


def _figure(row: Row) -> str:
    doubt = " ✗" if row.failed else ""
    return f"{text.share(row.accuracy)} ({text.interval(row.accuracy)}){doubt}"


def _certified(row: Row) -> str:
    """Return the certified share, where it says something."""
    if row.certified is None or row.certified.value == 0:
        return ""
    return f"; certified {text.share(row.certified)}"


def _titled(view: StudyView, row: Row) -> str:
    return f"{row.title} ({view.variant(row.variant)})" if row.variant else row.title


def _summary(view: StudyView) -> list[str]:
    lines = []
    for line in view.lines("summary"):
        reference = text.reference(line.reference) if line.reference is not None else "–"
        rows = [line.rows[0] if line.shared else line.row(variant.id) for variant in view.variants]
        lines.append([plain(line.title), reference, *(_figure(row) if row else "–" for row in rows)])
    figures = table(["Test images", "the study", *(plain(variant.title) for variant in view.variants)], lines)
    notes = [
        f"- **{plain(variant.title)}** ({text.factors(variant.factors)}): {plain(variant.why)} "
        f"{words.agreement(view, variant.id)}".rstrip()
        for variant in view.results.variants
    ]
    notes += [
        f"- {plain(_titled(view, row))}: {_figure(row)}. {plain(line.note)}".rstrip()
        for line in view.lines("footnote")
        for row in line.rows
    ]
    return ["## Summary", figures, "In brackets: 95 % intervals (Wilson).", "\n".join(notes)]


def _claims(view: StudyView) -> list[str]:
    lines = []
    for claim in view.results.claims:
        for reading in view.readings(claim):
            verdicts = [reading.verdicts.get(variant.id) for variant in view.variants]
            cells = [
                f"{words.STATES[verdict.state]}: {_comparisons(verdict)}" if verdict else "–"
                for verdict in verdicts
            ]
            lines.append([plain(claim.text), plain(reading.title), *cells])
    if not lines:
        return []
    head = ["Claim", "reading", *(plain(variant.title) for variant in view.variants)]
    return ["## Claims", plain(words.verdict_count(view)), table(head, lines)]


def _comparisons(verdict: ClaimVerdict) -> str:
    """Return the comparisons, each with the sign of its state."""
    return "; ".join(f"{words.STATES[part.state][0]} {plain(part.text)}" for part in verdict.comparisons)


def _findings(view: StudyView) -> list[str]:
    """Return the table of the accuracy that each defense keeps."""
    lines = [
        [
            plain(line.finding.title),
            plain(view.variant(fall.variant)) or "–",
            _figure(fall.published),
            _figure(fall.left),
            plain(line.finding.why),
        ]
        for line in view.findings()
        for fall in line.falls
    ]
    head = ["Defense", "values", "published test", "attacker knows of it", "why"]
    return [plain(words.worse_than_none(view)), table(head, lines)] if lines else []


def _curves(charts: StudyCharts) -> list[str]:
    images = [f"![{plain(chart.title)}](figures/{chart.name}.svg)" for _, chart in charts.curves]
    return ["## Curves", *images] if images else []


def _rows(view: StudyView) -> list[str]:
    lines = [
        [
            plain(row.title),
            plain(view.variant(row.variant)) or "–",
            f"{_figure(row)}{_certified(row)}",
            code(row.attacks),
            code(row.threat),
            plain(view.access(row)),
            f"{text.distance(row.distance)} / {text.distance(row.max_distance)}",
            f"{text.passes(row.forwards, row.accuracy.n)} / {text.passes(row.backwards, row.accuracy.n)}",
        ]
        for row in view.results.rows
    ]
    head = ["Measurement", "values", "accuracy", "attack", "threat", "attacker", "mean / largest distance"]
    return ["## All measurements", table([*head, "forward / backward passes per image"], lines)]


def _operating(point: Operating | None) -> str:
    if point is None:
        return "–"
    return f"{text.share(point.detection_rate)} / {text.share(point.false_positive_rate)}"


def _detections(view: StudyView) -> list[str]:
    def line(detection: Detection) -> list[str]:
        auroc = f"{text.score(detection.auroc.value)} ({text.score_interval(detection.auroc)})"
        variant = plain(view.variant(detection.variant)) or "–"
        points = [_operating(detection.natural), _operating(detection.calibrated)]
        return [plain(detection.title), variant, auroc, *points]

    lines = [line(detection) for group in by_id(view.results.detections) for detection in group]
    if not lines:
        return []
    head = [
        "Detection",
        "values",
        "AUROC",
        "natural threshold: detected / false",
        "5 % threshold: detected / false",
    ]
    findings = "\n".join(f"- {plain(finding)}" for finding in words.detection_findings(view.results))
    return ["## Detection", findings, table(head, lines)]


def _cost(view: StudyView) -> list[str]:
    lines = [
        [
            plain(group.title),
            text.duration(group.seconds),
            text.count(group.forwards),
            text.count(group.backwards),
        ]
        for group in view.costs()
    ]
    results = view.results
    compute, data = results.compute, results.dataset
    versions = ", ".join(f"{name} {version}" for name, version in compute.versions.items())
    facts = [
        f"- total time {text.duration(view.seconds)}, peak memory of the main process "
        f"{text.count(results.peak_memory_mb)} MB, seed {results.seed}",
        f"- {plain(text.machine(compute))}; training in {plain(compute.training_precision)}",
        f"- {plain(data.name)}: {plain(data.source)}; {text.count(data.train)} training, "
        f"{text.count(data.validation)} validation and {text.count(data.test)} test images",
        f"- {plain(versions)}",
    ]
    return [
        "## Cost",
        table(["Stages", "time", "forward passes", "backward passes"], lines),
        "\n".join(facts),
    ]
