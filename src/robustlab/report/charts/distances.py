"""The distances of the broken images from the clean ones."""

from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from robustlab.core.text import level
from robustlab.report.charts.canvas import INK, RED, Chart, chart
from robustlab.runs.evaluation import Histogram

_SIZE = (330, 330)


def distance_chart(distances: Histogram, norm: str, eps: float) -> Chart:
    """Return the histogram of distances, with eps marked."""

    def paint(figure: Figure) -> None:
        axes = figure.add_subplot()
        axes.stairs(distances.counts, distances.edges, fill=True, color=RED, alpha=0.3)
        axes.stairs(distances.counts, distances.edges, color=RED, linewidth=1.4)
        axes.axvline(eps, color=INK, linewidth=1.2, linestyle=":", label=f"eps, {level(eps)}")
        axes.set_ylim(bottom=0)
        axes.yaxis.set_major_locator(MaxNLocator(nbins=6, integer=True))
        axes.locator_params(axis="x", nbins=6)
        axes.set_xlabel(f"distance ({norm}, pixel units)")
        axes.set_ylabel("broken images")
        figure.legend(loc="outside lower center")

    return chart("distances", "Distances of the broken images from the clean ones", _SIZE, paint)
