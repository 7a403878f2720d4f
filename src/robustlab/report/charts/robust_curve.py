"""Robust accuracy against eps, attacked and proven."""

from matplotlib.axes import Axes
from matplotlib.figure import Figure as Canvas

from robustlab.core.text import level
from robustlab.report.charts.canvas import BLUE, GREEN, GREY, INK, Chart, chart, percent_axis
from robustlab.runs.evaluation import RobustCurve
from robustlab.runs.records import Figure

_SIZE = (390, 330)
_MOST_MARKS = 24


def robust_curve_chart(curve: RobustCurve, norm: str, eps: float, headline: Figure) -> Chart:
    """Return the curve with its bands, with marks at the evaluation's own eps and figure."""

    def paint(figure: Canvas) -> None:
        axes = figure.add_subplot()
        attacked = [f.value for f in curve.robust]
        if curve.certified is not None:
            certified = [f.value for f in curve.certified]
            axes.fill_between(
                curve.eps, certified, attacked, color=GREY, alpha=0.16, linewidth=0, label="unknown"
            )
            _draw(axes, curve.eps, curve.certified, GREEN, "s", "--", "proven (certified)")
        _draw(axes, curve.eps, curve.robust, BLUE, "o", "-", "not broken (attacked)")
        axes.axvline(eps, color=INK, linewidth=1.1, linestyle=":")
        axes.errorbar(
            [eps],
            [headline.value],
            [[headline.value - headline.low], [headline.high - headline.value]],
            fmt="D",
            markersize=6,
            color=INK,
            capsize=3,
            label=f"worst case at eps {level(eps)}",
        )
        percent_axis(axes)
        axes.margins(x=0.02)
        axes.set_ylabel("accuracy")
        axes.set_xlabel(f"eps ({norm}, pixel units)")
        figure.legend(loc="outside lower left", ncols=2)

    return chart("robust-curve", "Robust accuracy against eps", _SIZE, paint)


def _draw(
    axes: Axes, eps: list[float], figures: list[Figure], colour: str, marker: str, dash: str, label: str
) -> None:
    lows, highs = ([getattr(figure, end) for figure in figures] for end in ("low", "high"))
    axes.fill_between(eps, lows, highs, color=colour, alpha=0.15, linewidth=0)
    axes.plot(
        eps,
        [figure.value for figure in figures],
        color=colour,
        linestyle=dash,
        marker=marker if len(eps) <= _MOST_MARKS else "",
        label=label,
    )
