"""Prints the results of `robustlab compare` and `robustlab gate`."""

from typing import TYPE_CHECKING

from robustlab.cli.texts import echo, print_paragraphs, print_rows, split_figure, styled
from robustlab.core.text import printable

if TYPE_CHECKING:
    from robustlab.evaluation.compare import Comparison
    from robustlab.evaluation.gate import GateResult

_SHOWN = 50
"""The largest number of flipped images that are listed; --json lists all."""


def show_comparison(found: "Comparison") -> None:
    """Print both figures, their difference and the images that flipped."""
    print_paragraphs(f"Robust accuracy on the {found.n} common images", italic=True)
    difference = f"{100 * found.difference:+.2f} points"
    interval = f"{100 * found.low:+.2f} – {100 * found.high:+.2f}"
    rows = [
        [f"first: {found.first_name}", *split_figure(found.first)],
        [f"second: {found.second_name}", *split_figure(found.second)],
        ["difference", difference, interval],
    ]
    print_rows(rows, ["", "accuracy", "95 % interval"])
    print_paragraphs(
        f"{found.gained} images gained, {found.lost} lost; McNemar's exact test: p = {found.p_value:.2g}"
    )
    for setting in found.other_settings:
        echo(styled(f"The difference may come from other {printable(setting)}", fg="yellow"))
    for title, images in (
        ("gained", [flip for flip in found.flipped if flip.second in {"robust", "certified"}]),
        ("lost", [flip for flip in found.flipped if flip.first in {"robust", "certified"}]),
    ):
        if images:
            more = ", …" if len(images) > _SHOWN else ""
            print_paragraphs(f"{title}: {', '.join(str(flip.image_id) for flip in images[:_SHOWN])}{more}")


def show_gate(found: "GateResult") -> None:
    """Print every condition, and whether the gate is passed."""
    for condition in found.conditions:
        mark = styled("✓", fg="green") if condition.holds else styled("✗", fg="red")
        echo(f"{mark} {printable(condition.asked)}: {printable(condition.found)}")
    echo(styled("passed", fg="green") if found.passed else styled("failed", fg="red", bold=True))
