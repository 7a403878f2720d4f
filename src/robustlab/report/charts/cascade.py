"""The accuracy that is left against the passes that the attacks have spent."""

from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure as Canvas
from matplotlib.ticker import FuncFormatter, MaxNLocator

from robustlab.report.charts.canvas import BLUE, INK, Chart, chart
from robustlab.runs.records import Figure

_SIZE = (390, 290)
_LEAST_SPAN = 0.04


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
        _number_steps(axes, passes, values)
        axes.set_xscale("log")
        axes.xaxis.set_major_formatter(FuncFormatter(lambda v, _: f"{v:,.10g}"))
        axes.minorticks_off()
        _zoom(axes, min(lows), max(highs))
        axes.set_xlabel(f"{spent} per image{'' if queries else ', forward and backward'}")
        axes.set_ylabel("accuracy left")

    return chart("cascade", f"Accuracy left against the {spent} that the attacks spent", _SIZE, paint)


def _number_steps(axes: Axes, passes: Sequence[float], values: Sequence[float]) -> None:
    """Number the attacks that broke something, and the last."""
    for number in range(1, len(values)):
        if values[number] < values[number - 1] or number == len(values) - 1:
            axes.annotate(
                str(number),
                (passes[number], values[number]),
                xytext=(5, 4),
                textcoords="offset points",
                fontsize=10,
                fontweight="bold",
                color=INK,
            )


def _zoom(axes: Axes, low: float, high: float) -> None:
    """Show the range of the accuracies, at least a few points, so that a small step looks small."""
    margin = max(0.06 * (high - low), (_LEAST_SPAN - (high - low)) / 2)
    axes.set_ylim(max(-0.02, low - margin), min(1.02, high + margin))
    axes.yaxis.set_major_locator(MaxNLocator(nbins=6))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda v, _: f"{100 * v:.4g} %"))
