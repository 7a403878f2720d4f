"""Several evaluations: accuracy against eps, and the cost of each."""

from collections.abc import Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure as Canvas
from matplotlib.ticker import FuncFormatter

from robustlab.report.charts.canvas import BLUE, DASHES, LINES, MARKERS, Chart, chart, percent_axis
from robustlab.runs.comparison import ComparedRun
from robustlab.runs.records import Figure

_WIDTH, _LEGEND_LINE, _BAR = 430, 17, 30
_LONGEST = 38


def accuracy_chart(number: int, norm: str, runs: Sequence[ComparedRun]) -> Chart:
    """Return accuracy against eps within one norm, a line for each model; at eps 0 it is the clean one.

    Args:
        number: of the chart on its page.
        norm: that of all runs.
        runs: those with a robust or a certified accuracy.
    """
    lines = [[run for run in runs if run.line == line] for line in dict.fromkeys(run.line for run in runs)]

    def paint(figure: Canvas) -> None:
        axes = figure.add_subplot()
        for place, line in enumerate(lines):
            _draw(axes, place, sorted(line, key=lambda run: run.eps))
        percent_axis(axes)
        axes.set_xlim(left=0)
        axes.set_ylabel("accuracy")
        axes.set_xlabel(f"eps ({norm}, pixel units)")
        figure.legend(loc="outside lower left", fontsize=10)

    entries = sum(
        any(run.robust is not None for run in line) + any(run.certified is not None for run in line)
        for line in lines
    )
    size = (_WIDTH, 290 + _LEGEND_LINE * entries)
    return chart(f"accuracy-{number}", f"Accuracy against eps ({norm})", size, paint)


def _draw(axes: Axes, place: int, runs: Sequence[ComparedRun]) -> None:
    colour, marker = LINES[place % len(LINES)], MARKERS[place % len(MARKERS)]
    dash = DASHES[place // len(LINES) % len(DASHES)]
    look = {"color": colour, "marker": marker}
    for run in runs:
        if run.curve and run.curve.eps:
            values = [figure.value for figure in run.curve.robust]
            axes.plot(run.curve.eps, values, color=colour, linewidth=0.9, alpha=0.6, linestyle=dash)
    attacked = [(run.eps, run.robust) for run in runs if run.robust is not None]
    proven = [(run.eps, run.certified) for run in runs if run.certified is not None]
    name = _cut(runs[0].model)
    if attacked:
        clean = (0.0, max(runs, key=lambda run: run.n).clean)
        _points(axes, [clean, *attacked], label=f"{name}, attacked", linestyle=dash, **look)
    if proven:
        _points(axes, proven, label=f"{name}, proven", linestyle=":", markerfacecolor="none", **look)


def _points(axes: Axes, points: Sequence[tuple[float, Figure]], **look: Any) -> None:
    eps, figures = zip(*points, strict=True)
    below = [figure.value - figure.low for figure in figures]
    above = [figure.high - figure.value for figure in figures]
    values = [figure.value for figure in figures]
    axes.errorbar(eps, values, [below, above], capsize=2.5, elinewidth=0.9, **look)


def cost_chart(runs: Sequence[ComparedRun]) -> Chart:
    """Return the passes per image of each run as bars."""

    def paint(figure: Canvas) -> None:
        axes = figure.add_subplot()
        places = range(len(runs))
        axes.barh(places, [max(run.passes, 1) for run in runs], color=BLUE, alpha=0.75, height=0.6)
        axes.set_yticks(places, [f"{_cut(run.label)}\n{_cut(run.threat)}" for run in runs], fontsize=9)
        axes.invert_yaxis()
        axes.set_xscale("log")
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.10g}"))
        axes.minorticks_off()
        axes.grid(visible=False, axis="y")
        axes.set_xlabel("passes per image, forward and backward")

    return chart("cost", "Passes per image of each run", (_WIDTH, 70 + _BAR * len(runs)), paint)


def _cut(name: str) -> str:
    return name if len(name) <= _LONGEST else f"{name[: _LONGEST - 1]}…"
