"""Fills the templates of the pages."""

import base64
import hashlib
import inspect
import re
from typing import Any, NamedTuple

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape

from robustlab.core.text import level
from robustlab.report import text
from robustlab.report.charts import Chart

CARD = "figures/finding.png"
"""The path of the picture to share, relative to the page."""


class Report(NamedTuple):
    """A report in its forms: the page, the Markdown, and the charts that both show.

    Attributes:
        card: a picture of the finding to share, PNG of 1200 x 630 pixels, if there is one.
    """

    page: str
    markdown: str
    charts: list[Chart]
    card: bytes | None = None


def render(template: str, **values: Any) -> str:
    """Return a self-contained page."""
    environment = Environment(
        loader=PackageLoader("robustlab.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    # The functions of `report.text` are the filters of the templates.
    environment.filters |= dict(inspect.getmembers(text, inspect.isfunction))
    environment.filters |= {"level": level, "svg": _svg, "emphasis": _emphasis}
    style = environment.get_template("style.css").render()
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    # The security policy: the page may use only its own style and pictures; scripts and addresses are
    # forbidden.
    policy = (
        f"default-src 'none'; style-src 'sha256-{digest}'; img-src data:; base-uri 'none'; form-action 'none'"
    )
    return environment.get_template(template).render(values, style=Markup(style), policy=policy)


def _svg(chart: Chart) -> Markup:
    # matplotlib has escaped every text in it.
    return Markup(chart.inline)


def _emphasis(sentence: str) -> Markup:
    """Put the percentages of a sentence in bold."""
    return Markup(re.sub(r"\d[\d.]*\u00a0%", lambda match: f"<b>{match[0]}</b>", escape(sentence)))
