"""The accuracy that is left against the passes that the attacks have spent."""

from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure as Canvas
from matplotlib.ticker import FuncFormatter, MaxNLocator

from robustlab.report.charts.canvas import BLUE, INK, Chart, chart
from robustlab.runs.records import Figure

_SIZE = (390, 290)
_LEAST_SPAN = 0.04
_LABEL_SIZE = (0.05, 0.06)
"""The width and height that a number needs, as shares of the chart."""


def cascade_chart(passes: Sequence[float], accuracies: Sequence[Figure], *, queries: bool = False) -> Chart:
    """Return a staircase: one step per attack, numbered as in the table.

    Args:
        passes: total passes per image, before the first attack and after each.
        accuracies: the accuracy at these points.
        queries: whether the passes are those of a black box.
    """
    spent = "queries" if queries else "passes"

    def paint(figure: Canvas) -> None:
        axes = figure.add_subplot()
        values, lows, highs = ([getattr(a, end) for a in accuracies] for end in ("value", "low", "high"))
        # The last step is extended, otherwise it would not be visible.
        x = [*passes, passes[-1] * 1.6]
        axes.fill_between(
            x, [*lows, lows[-1]], [*highs, highs[-1]], step="post", color=BLUE, alpha=0.13, linewidth=0
        )
        axes.plot(x, [*values, values[-1]], color=BLUE, drawstyle="steps-post")
        axes.plot(passes, values, "o", color=BLUE)
        axes.set_xscale("log")
        axes.xaxis.set_major_formatter(FuncFormatter(lambda v, _: f"{v:,.10g}"))
        axes.minorticks_off()
        _zoom(axes, min(lows), max(highs))
        _number_steps(axes, passes, values)
        axes.set_xlabel(f"{spent} per image{'' if queries else ', forward and backward'}")
        axes.set_ylabel("accuracy left")

    return chart("cascade", f"Accuracy left against the {spent} that the attacks spent", _SIZE, paint)


def _number_steps(axes: Axes, passes: Sequence[float], values: Sequence[float]) -> None:
    """Number the attacks that broke something, and the last; neighbours that would overlap share a label."""
    last = len(values) - 1
    numbered = [n for n in range(1, last + 1) if values[n] < values[n - 1] or n == last]
    # Where the points lie in the chart, from 0 to 1 in both directions.
    places = axes.transAxes.inverted().transform(
        axes.transData.transform(list(zip(passes, values, strict=True)))
    )
    groups: list[list[int]] = []
    for number in numbered:
        near = bool(groups) and bool((abs(places[number] - places[groups[-1][-1]]) < _LABEL_SIZE).all())
        if near:
            groups[-1].append(number)
        else:
            groups.append([number])
    for group in groups:
        axes.annotate(
            _as_text(group),
            (passes[group[-1]], values[group[-1]]),
            xytext=(5, 4),
            textcoords="offset points",
            fontsize=10,
            fontweight="bold",
            color=INK,
        )


def _as_text(numbers: Sequence[int]) -> str:
    """Return "3", "3, 5", or "3\N{EN DASH}5" if all between the two are in the group."""
    if len(numbers) > 2 and numbers[-1] - numbers[0] == len(numbers) - 1:
        return f"{numbers[0]}\N{EN DASH}{numbers[-1]}"
    return ", ".join(str(number) for number in numbers)


def _zoom(axes: Axes, low: float, high: float) -> None:
    """Show the range of the accuracies, at least a few points, so that a small step looks small."""
    margin = max(0.06 * (high - low), (_LEAST_SPAN - (high - low)) / 2)
    axes.set_ylim(max(-0.02, low - margin), min(1.02, high + margin))
    axes.yaxis.set_major_locator(MaxNLocator(nbins=6))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda v, _: f"{100 * v:.4g} %"))
