"""Fills the page's template."""

import re
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape

from robustlab.report import text, words
from robustlab.report.arrays import Arrays
from robustlab.report.charts import Chart, Charts
from robustlab.report.pictures import exhibit, strip
from robustlab.report.view import View, by_id

_FILTERS = (
    text.count,
    text.duration,
    text.interval,
    text.distance,
    text.moment,
    text.passes,
    text.pixel_range,
    text.percent,
    text.reference,
    text.score,
    text.score_interval,
    text.share,
    text.slug,
    text.spec,
)


def page(view: View, charts: Charts, arrays: Arrays) -> str:
    """Return the page, complete in itself.

    Raises:
        RunError: pictures that the results name are missing or damaged.
    """
    results = view.results
    return (
        _environment()
        .get_template("report.html.j2")
        .render(
            r=results,
            view=view,
            charts=charts,
            words=words,
            terms=_terms(view),
            gallery=exhibit(results.gallery, arrays) if results.gallery else None,
            strips=[strip(samples, arrays) for samples in results.samples],
            row_groups=by_id(results.rows),
            detection_groups=by_id(results.detections),
        )
    )


def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("robustlab.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update({function.__name__: function for function in _FILTERS})
    environment.filters |= {"svg": _svg, "emphasis": _emphasis}
    return environment


def _svg(chart: Chart) -> Markup:
    # matplotlib has escaped every text in it.
    return Markup(chart.inline)


def _emphasis(sentence: str) -> Markup:
    """Put the percentages of a sentence in bold."""
    return Markup(re.sub(r"\d[\d.]*\u00a0%", lambda match: f"<b>{match[0]}</b>", escape(sentence)))


def _terms(view: View) -> dict[str, list[tuple[str, str]]]:
    """Return the terms to explain by the section that uses them first."""
    results, glossary = view.results, words.Glossary()
    texts: dict[str, list[Any]] = {
        "summary": [
            part
            for row in results.rows
            if row.group != "more"
            for part in (row.title, row.note, row.attack, view.access(row))
        ],
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
        "rows": [
            part for row in results.rows for part in (row.title, row.note, row.attack, view.access(row))
        ],
        "training": [
            part for network in results.networks for part in (network.title, network.model, network.objective)
        ],
        "detection": [
            part
            for detection in results.detections
            for part in (detection.title, detection.detector, detection.attack, "ROC")
        ],
    }
    return {section: glossary.explain(*parts) for section, parts in texts.items()}
