"""The training curves of one network."""

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from robustlab.report.charts.canvas import BLUE, GREEN, LINES, MARKERS, Chart, chart
from robustlab.report.text import slug
from robustlab.runs.results import Network

_SIZE = (340, 306)
_ACCURACY = "accuracy"


def training_chart(network: Network) -> Chart:
    """Return a network's losses per epoch, and its accuracy below them if it has one."""
    keys = list(dict.fromkeys(key for epoch in network.epochs for key in epoch))
    accuracies = [key for key in keys if key.endswith(_ACCURACY)]
    losses = [key for key in keys if key not in accuracies]

    def paint(figure: Figure) -> None:
        panels = [part for part in (losses, accuracies) if part]
        ratios = [2.2 if part is losses else 1 for part in panels]
        column = figure.subplots(len(panels), 1, sharex=True, squeeze=False, height_ratios=ratios)[:, 0]
        for axes, part in zip(column, panels, strict=True):
            _draw_lines(axes, network, part)
            axes.set_ylabel(_ACCURACY if part is accuracies else "loss")
            axes.locator_params(axis="y", nbins=3 if part is accuracies and losses else 6)
        column[-1].set_xlabel("epoch")
        column[-1].xaxis.set_major_locator(MaxNLocator(integer=True, nbins=8))
        column[-1].set_xlim(0.5, len(network.epochs) + 0.5)
        if network.best_epoch != len(network.epochs):
            _mark_kept(list(column), network.best_epoch, len(network.epochs))
        figure.align_ylabels(list(column))
        figure.legend(loc="outside lower center", ncols=2)

    return chart(f"training-{slug(network.id)}", f"Training of {network.title}", _SIZE, paint)


def _draw_lines(axes: Axes, network: Network, keys: list[str]) -> None:
    measures = list(dict.fromkeys(key.partition(" ")[2] for key in keys))
    for key in keys:
        split, _, measure = key.partition(" ")
        place = measures.index(measure)
        trained = split == "train"
        epochs = [number for number, epoch in enumerate(network.epochs, start=1) if key in epoch]
        colour = GREEN if measure == _ACCURACY else (BLUE, *LINES[2:])[place % 6]
        axes.plot(
            epochs,
            [network.epochs[number - 1][key] for number in epochs],
            color=colour,
            linestyle="--" if trained else "-",
            marker=MARKERS[place % len(MARKERS)],
            markerfacecolor="none" if trained else colour,
            markersize=3.5,
            label=key,
        )


def _mark_kept(panels: list[Axes], best: int, last: int) -> None:
    for axes in panels:
        axes.axvline(best, color=GREEN, linewidth=1.2, linestyle=":")
    align = "left" if best < last / 4 else "right" if best > 3 * last / 4 else "center"
    # Above the frame, where lines of the chart do not overlap it.
    panels[0].annotate(
        f"kept: epoch {best}",
        (best, 1.02),
        xycoords=panels[0].get_xaxis_transform(),
        ha=align,
        va="bottom",
        fontsize=9.5,
    )
