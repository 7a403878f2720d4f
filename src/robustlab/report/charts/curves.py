"""Accuracy against the strength of a perturbation."""

from collections import Counter
from collections.abc import Callable

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import ArrayLike

from robustlab.report.charts.canvas import DASHES, LINES, MARKERS, Chart, chart, percent_axis
from robustlab.report.text import slug
from robustlab.runs.results import Axis, Curve, Series

_WIDTH, _PLOT_HEIGHT, _LEGEND_LINE, _TOP_AXIS = 390, 290, 17, 36


def classifier_places(curves: list[Curve]) -> dict[str, int]:
    """Number the classifiers, so that each has one colour in all curves."""
    names = dict.fromkeys(series.model for curve in curves for series in curve.series)
    return {name: place for place, name in enumerate(names)}


def curve_chart(curve: Curve, places: dict[str, int]) -> Chart:
    """Return a curve's chart, with its other scales along the top."""
    height = _PLOT_HEIGHT + _LEGEND_LINE * len(curve.series) + _TOP_AXIS * len(curve.axes)

    def paint(figure: Figure) -> None:
        axes = figure.add_subplot()
        seen: Counter[int] = Counter()
        for series in curve.series:
            place = places[series.model]
            _draw_line(axes, curve.x, series, place, seen[place])
            seen[place] += 1
        percent_axis(axes)
        axes.set_ylabel("accuracy")
        axes.set_xlabel(curve.x_label)
        axes.margins(x=0.02)
        for number, other in enumerate(curve.axes):
            _add_top_axis(axes, other, number)
        figure.legend(loc="outside lower left")

    return chart(f"curve-{slug(curve.id)}", f"{curve.title}, by {curve.x_label}", (_WIDTH, height), paint)


def _draw_line(axes: Axes, x: list[float], series: Series, place: int, repeat: int) -> None:
    """Draw a line: the colour and mark show the classifier, the dashes its attacks."""
    colour = LINES[place % len(LINES)]
    axes.plot(
        x,
        [figure.value for figure in series.accuracy],
        color=colour,
        marker=MARKERS[place % len(MARKERS)],
        markerfacecolor=colour if repeat == 0 else "none",
        linestyle=DASHES[repeat % len(DASHES)],
        label=series.label,
    )
    lows, highs = ([getattr(figure, end) for figure in series.accuracy] for end in ("low", "high"))
    axes.fill_between(x, lows, highs, color=colour, alpha=0.13, linewidth=0)


def _add_top_axis(axes: Axes, other: Axis, number: int) -> None:
    top = axes.secondary_xaxis("top", functions=(_times(1 / other.value), _times(other.value)))
    top.spines["top"].set_position(("outward", _TOP_AXIS * number))
    top.set_xlabel(f"the same in {other.title}")


def _times(factor: float) -> Callable[[ArrayLike], ArrayLike]:
    return lambda x: np.asarray(x, dtype=np.float64) * factor
