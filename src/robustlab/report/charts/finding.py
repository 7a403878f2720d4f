"""A picture of a study to share: for each defense the published figure and that of the harder test."""

import io
import textwrap

from matplotlib import style
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from robustlab.report.charts.canvas import GREY, INK, STYLE, percent_axis, place_look
from robustlab.report.study.view import Fall, StudyView
from robustlab.report.text import count, percent

WIDTH, HEIGHT = 1200, 630
"""Pixels: the usual size of link previews."""

_DPI = 100
_LINE = 92
"""The number of characters in a line of the sentence."""


def finding_card(view: StudyView, sentence: str) -> bytes | None:
    """Return the picture as PNG, or None for a study without findings.

    Args:
        view: the view of the study.
        sentence: the finding in a sentence.
    """
    lines = view.findings()
    if not lines:
        return None
    buffer = io.BytesIO()
    with style.context(["default", STYLE]):
        figure = Figure(figsize=(WIDTH / _DPI, HEIGHT / _DPI), dpi=_DPI, facecolor="white")
        figure.text(0.04, 0.93, view.results.title, fontsize=22, fontweight="bold", va="center")
        said = textwrap.fill(sentence.replace("\u00a0", " "), _LINE)
        figure.text(0.04, 0.875, said, fontsize=14, va="top", linespacing=1.35)
        bottom, top = 0.15, 0.84 - 0.048 * len(said.splitlines())
        axes = figure.add_axes((0.36, bottom, 0.36, top - bottom))
        falls = [(line.finding.title, fall) for line in lines for fall in line.falls]
        for row, (title, fall) in enumerate(falls):
            first = row == 0 or falls[row - 1][0] != title
            _draw(axes, row, fall, view, title if first else "")
        percent_axis(axes, "x")
        axes.set_ylim(len(falls) - 0.4, -0.6)
        axes.set_yticks([])
        axes.spines["left"].set_visible(False)
        counts = sorted({row.accuracy.n for _, fall in falls for row in (fall.published, fall.left)})
        numbers = " to ".join(count(n) for n in dict.fromkeys((counts[0], counts[-1])))
        images = f"{view.results.dataset.name}, {numbers} test images"
        marks = "line: published; open: the same test, repeated; filled: an attacker who knows of the defense"
        figure.text(0.04, 0.045, f"{images}; {marks}", fontsize=11, color=GREY)
        figure.text(0.96, 0.045, "robustlab", fontsize=13, fontweight="bold", ha="right")
        figure.savefig(buffer, format="png", metadata={"Software": None})
    return buffer.getvalue()


def _draw(axes: Axes, row: int, fall: Fall, view: StudyView, title: str) -> None:
    colour, marker, _ = place_look(view.place(fall.variant))
    start, end = fall.published.accuracy.value, fall.left.accuracy.value
    axes.plot([end, start], [row, row], color=colour, linewidth=3, alpha=0.45, solid_capstyle="butt")
    if fall.published.reference is not None:
        axes.plot([fall.published.reference] * 2, [row - 0.3, row + 0.3], color=INK, linewidth=2)
    axes.plot(start, row, "o", markersize=9, color=colour, markerfacecolor="white", markeredgewidth=2)
    axes.plot(end, row, marker, markersize=9, color=colour)
    beside = axes.get_yaxis_transform()  # x in widths of the plot, y in rows
    axes.text(-0.88, row, title, fontsize=15, fontweight="bold", va="center", transform=beside)
    choice = view.variant(fall.variant)
    axes.text(-0.05, row, choice, fontsize=12, color=colour, ha="right", va="center", transform=beside)
    figures = f"{percent(start)} → {percent(end)}"
    axes.text(1.06, row, figures, fontsize=17, fontweight="bold", va="center", transform=beside)
