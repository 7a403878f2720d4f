"""The common style of all charts, and the two forms of an SVG: a file, and inside the page."""

import io
import re
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from html import escape

from matplotlib import style
from matplotlib.axes import Axes
from matplotlib.figure import Figure

INK = "#1b2330"
BLUE, ORANGE, GREEN, PURPLE = "#0072b2", "#d98200", "#009e73", "#b5578f"
RED, SKY, GREY = "#c03a1b", "#56b4e9", "#7a8594"

COLOURS = {
    INK: "ink",
    BLUE: "blue",
    ORANGE: "orange",
    GREEN: "green",
    PURPLE: "purple",
    RED: "red",
    SKY: "sky",
    GREY: "grey",
}
"""The palette, after Okabe and Ito, which colour-blind readers can distinguish."""

LINES = (BLUE, GREEN, ORANGE, PURPLE, RED, SKY, GREY, INK)
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*")
DASHES = ("-", "--", ":", "-.")

_UNIT_LOOK = ((INK, "D", "-"), (BLUE, "o", "-"), (ORANGE, "s", "--"), (GREEN, "^", ":"), (PURPLE, "v", "-."))

STYLE = {
    "axes.axisbelow": True,
    "axes.edgecolor": INK,
    "axes.grid": True,
    "axes.labelcolor": INK,
    "axes.linewidth": 0.7,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.labelpad": 6,
    "axes.labelsize": 11,
    "axes.titlesize": 11,
    "font.size": 11,
    "grid.alpha": 0.14,
    "grid.color": INK,
    "grid.linewidth": 0.7,
    "legend.borderaxespad": 0.1,
    "legend.borderpad": 0.2,
    "legend.fontsize": 11,
    "legend.frameon": False,
    "legend.handlelength": 2.4,
    "legend.labelcolor": INK,
    "legend.labelspacing": 0.35,
    "lines.linewidth": 1.7,
    "lines.markersize": 4.5,
    "svg.fonttype": "none",
    "svg.hashsalt": "robustlab",
    "text.color": INK,
    "text.parse_math": False,
    "xtick.color": INK,
    "xtick.major.width": 0.7,
    "ytick.color": INK,
    "ytick.major.width": 0.7,
}

_FONT = "system-ui, -apple-system, 'Segoe UI', Roboto, 'Helvetica Neue', Arial, sans-serif"
_METADATA = dict.fromkeys(("Creator", "Date", "Format", "Type"))


@dataclass(frozen=True, kw_only=True)
class Chart:
    """A chart as SVG; ``title`` describes it for readers who can't see it."""

    name: str
    title: str
    svg: str
    figure: Figure = field(repr=False, compare=False)

    @property
    def file(self) -> str:
        """The SVG as a file of its own, on white."""
        head = (
            '<?xml version="1.0" encoding="utf-8"?>\n<svg xmlns="http://www.w3.org/2000/svg" '
            'xmlns:xlink="http://www.w3.org/1999/xlink" style="background: #fff"'
        )
        return self.svg.replace("<svg", head, 1)

    @property
    def inline(self) -> str:
        """The SVG for the page: the page's colour scheme applies, and all names are unique.

        Styles become attributes, since the page's security policy forbids ``style``.
        """
        svg = re.sub(r'(?<=\bid=")|(?<=href="#)|(?<=url\(#)', f"{self.name}-", self.svg)
        svg = re.sub(r"(?<=: )#[0-9a-f]{6}\b", _as_variable, svg)
        return re.sub(r' style="([^"]*)"', _as_attributes, svg)


class ShownFigure(Figure):
    """A figure that a notebook shows as a picture, also without matplotlib's pyplot."""

    def _repr_png_(self) -> bytes:
        buffer = io.BytesIO()
        self.savefig(buffer, format="png")
        return buffer.getvalue()


def chart(name: str, title: str, size: tuple[float, float], paint: Callable[[Figure], None]) -> Chart:
    """Return what ``paint`` draws on a figure of ``size`` SVG units, which are pixels at scale 1."""
    buffer = io.StringIO()
    # The defaults come first, so that a matplotlibrc on this machine has no effect.
    with style.context(["default", STYLE]), warnings.catch_warnings():
        # The text is shown in the viewer's fonts; the fonts for measuring need not contain every letter.
        warnings.filterwarnings("ignore", message="Glyph .* missing from")
        figure = ShownFigure(figsize=(size[0] / 72, size[1] / 72), layout="constrained")
        paint(figure)
        figure.savefig(buffer, format="svg", transparent=True, metadata=_METADATA)
    return Chart(name=name, title=title, svg=_tidy(buffer.getvalue(), title), figure=figure)


def place_look(place: int) -> tuple[str, str, str]:
    """Return the colour, marker and line style of a choice's number (0: without a choice of values)."""
    return _UNIT_LOOK[place] if place < 2 else _UNIT_LOOK[2 + (place - 2) % (len(_UNIT_LOOK) - 2)]


def percent_axis(axes: Axes, which: str = "y") -> None:
    """Label an axis of shares from 0 to 100 %."""
    axis = axes.yaxis if which == "y" else axes.xaxis
    axis.set_ticks([0, 0.25, 0.5, 0.75, 1], ["0 %", "25 %", "50 %", "75 %", "100 %"])
    (axes.set_ylim if which == "y" else axes.set_xlim)(-0.02, 1.02)


def _tidy(svg: str, title: str) -> str:
    """Remove what the page does not need from matplotlib's SVG, and add the title."""
    svg = svg[svg.index("<svg") :]
    width, height = re.findall(r'viewBox="0 0 ([\d.]+) ([\d.]+)"', svg)[0]
    head = (
        f'<svg viewBox="0 0 {width} {height}" role="img" aria-label="{escape(title)}" '
        f'font-family="{_FONT}" stroke-linejoin="round" stroke-linecap="butt">'
    )
    svg = re.sub(r"<svg[^>]*>", lambda _: head, svg, count=1)
    svg = re.sub(r"\s*<defs>\s*<style.*?</style>\s*</defs>", "", svg, count=1, flags=re.DOTALL)
    svg = re.sub(r'<g id="[^"]*"', "<g", svg)
    # One family for all texts; older matplotlibs write size and family in one.
    svg = re.sub(r" font-family: [^;\"]*;?", "", svg)
    svg = re.sub(r"font: [^;\"]*?([\d.]+px) [^;\"]*", r"font-size: \1", svg)
    return re.sub(r"\s*\n\s*", "\n", svg)


def _as_variable(match: re.Match[str]) -> str:
    name = COLOURS.get(match[0])
    return f"var(--{name})" if name else match[0]


def _as_attributes(match: re.Match[str]) -> str:
    rules = (rule.partition(":") for rule in match[1].split(";") if rule.strip())
    return "".join(f' {name.strip()}="{value.strip()}"' for name, _, value in rules)
