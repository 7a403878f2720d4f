"""The confusion matrix of a classifier."""

from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from robustlab.report.charts.canvas import BLUE, INK, RED, Chart, chart

_SIZE = (330, 330)
_MOST_CLASSES_WITH_NUMBERS = 12

_LONGEST_NAME = 12
"""Longer names are cut."""

MAX_CLASSES = 50
"""The most classes of a chart: with more, few cells have a count, and they are too small to see."""


def confusion_chart(
    name: str, title: str, confusion: list[list[int]], most: int, class_names: Sequence[str] = ()
) -> Chart:
    """Return the chart of ``confusion[true][predicted]``.

    Args:
        name, title: of the chart.
        confusion: numbers of images.
        most: the number of errors in full colour.
        class_names: one per class, for its axes if there is space; empty: the classes are numbers.
    """

    def paint(figure: Figure) -> None:
        axes = figure.add_subplot()
        classes = len(confusion)
        for true, counts in enumerate(confusion):
            for predicted, number in enumerate(counts):
                if number:
                    strength = _strength(true == predicted, number, sum(counts), most)
                    text = str(number) if classes <= _MOST_CLASSES_WITH_NUMBERS else ""
                    _draw_cell(axes, true, predicted, text, strength)
        axes.set(xlim=(-0.5, classes - 0.5), ylim=(classes - 0.5, -0.5), aspect="equal")
        axes.grid(visible=False)
        axes.spines[:].set_visible(True)
        axes.spines[:].set_alpha(0.35)
        step = 1 + classes // 20
        named = len(class_names) == classes <= _MOST_CLASSES_WITH_NUMBERS
        names = [_cut(name) for name in class_names] if named else None
        turned = names is not None and max(map(len, names)) > 2
        side = {"rotation": 40.0, "ha": "right"} if turned else {}
        axes.set_xticks(range(0, classes, step), names, minor=False, **side)
        axes.set_yticks(range(0, classes, step), names)
        axes.tick_params(length=0)
        axes.set_xlabel("predicted class")
        axes.set_ylabel("true class")

    return chart(name, title, _SIZE, paint)


def _cut(name: str) -> str:
    return name if len(name) <= _LONGEST_NAME else f"{name[: _LONGEST_NAME - 1]}…"


def _strength(right: bool, number: int, total: int, most: int) -> float:
    # The diagonal has its own pale scale: on a common scale its thousands would make all errors look white.
    # The square root makes single errors visible beside hundreds.
    return 0.06 + 0.24 * number / total if right else 0.1 + 0.6 * (number / most) ** 0.5


def _draw_cell(axes: Axes, true: int, predicted: int, text: str, strength: float) -> None:
    colour = BLUE if true == predicted else RED
    corner = (predicted - 0.5, true - 0.5)
    axes.add_patch(Rectangle(corner, 1, 1, facecolor=colour, alpha=strength, linewidth=0))
    axes.text(
        predicted,
        true,
        text,
        ha="center",
        va="center_baseline",
        fontsize=9 if len(text) < 4 else 8,
        color=INK,
    )
