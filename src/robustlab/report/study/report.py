"""The report of a study: its page, its Markdown and its charts."""

from typing import Any

from robustlab.report.arrays import Arrays
from robustlab.report.charts.finding import finding_card
from robustlab.report.glossary import Glossary
from robustlab.report.rendering import CARD, Report, render
from robustlab.report.study import words
from robustlab.report.study.charts import draw_charts
from robustlab.report.study.markdown import markdown
from robustlab.report.study.pictures import exhibit, strip
from robustlab.report.study.view import StudyView, by_id
from robustlab.runs.results import Results, Row


def report(results: Results, arrays: Arrays) -> Report:
    """Return the report of a study; missing or damaged pictures are a `RunError`."""
    view = StudyView(results)
    charts = draw_charts(view)
    card = finding_card(view, f"{words.headline(view)} {words.worse_than_none(view)}".strip())
    page = render(
        "study/report.html.j2",
        r=results,
        view=view,
        card=None if card is None else CARD,
        charts=charts,
        words=words,
        terms=_terms(view),
        gallery=exhibit(results.gallery, arrays, results.dataset.class_names) if results.gallery else None,
        strips=[strip(samples, arrays) for samples in results.samples],
        row_groups=by_id(results.rows),
        detection_groups=by_id(results.detections),
    )
    return Report(page, markdown(view, charts), charts.all(), card)


def _terms(view: StudyView) -> dict[str, list[tuple[str, str]]]:
    """Return the terms to explain by the section that uses them first."""
    results, glossary = view.results, Glossary()

    def of_rows(rows: list[Row]) -> list[str | None]:
        return [part for row in rows for part in (row.title, row.note, row.attacks, view.access(row))]

    texts: dict[str, list[Any]] = {
        "summary": of_rows([row for row in results.rows if row.group != "more"]),
        "claims": [
            part
            for claim in results.claims
            for part in (claim.text, *(verdict.reading for verdict in claim.verdicts))
        ],
        "curves": [
            part
            for curve in results.curves
            for part in (curve.title, curve.x_label, *(series.label for series in curve.series))
        ],
        "rows": of_rows(results.rows),
        "training": [
            part for network in results.networks for part in (network.title, network.model, network.objective)
        ],
        "detection": [
            part
            for detection in results.detections
            for part in (detection.title, detection.detector, detection.attacks, "ROC")
        ],
    }
    return {section: glossary.explain(*parts) for section, parts in texts.items()}
