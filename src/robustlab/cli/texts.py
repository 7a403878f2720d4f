"""Plain texts that fit the terminal. They do not need rich, so that `ls`, `gate` and others start fast."""

import json
import os
import re
import shutil
import sys
import textwrap
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import typer

from robustlab.core.text import printable

if TYPE_CHECKING:
    from robustlab.runs.records import Figure

_SIDE_BY_SIDE = 60
"""A narrower terminal has not enough space for texts side by side."""
_GAP = "  "


def width() -> int:
    """Return the columns of the terminal; 80 without a terminal."""
    return shutil.get_terminal_size((80, 24)).columns


def styled(text: str, **style: Any) -> str:
    """Return a text in a style of `typer.style`, if the terminal supports styles and the user wants them."""
    plain = os.environ.get("NO_COLOR") or not sys.stdout.isatty() or sys.platform == "win32"
    return text if plain else typer.style(text, **style)


def echo(text: str = "") -> None:
    """Print a line. (typer's echo writes UTF-8 even to a terminal that can't show it.)"""
    sys.stdout.write(f"{text}\n")


def print_json(content: object) -> None:
    """Print JSON."""
    echo(json.dumps(content, indent=2))


def print_paragraphs(text: str, indent: str = "", **style: Any) -> None:
    """Print the lines of a text, each wrapped to the terminal's width, in a style of `typer.style`."""
    for line in text.splitlines():
        for part in _wrapped(line, width() - len(indent)):
            echo(indent + styled(part, **style))


def plain_paragraphs(text: str) -> str:
    """Return a text with each paragraph in one line, without code marks."""
    paragraphs = re.split(r"\n\s*\n", text.replace("`", ""))
    return "\n\n".join(" ".join(paragraph.split()) for paragraph in paragraphs)


def print_rows(rows: Sequence[Sequence[str]], heads: Sequence[str] = (), indent: str = _GAP) -> None:
    """Print rows of texts side by side, or below each other where the terminal is narrow.

    Args:
        rows: a name and its description.
        heads: the titles of all columns; default: none.
        indent: the text before each line.
    """
    if width() < _SIDE_BY_SIDE:
        for name, *texts in rows:
            print_paragraphs(printable(name))
            for head, text in zip(heads[1:] or [""] * len(texts), texts, strict=True):
                if text:
                    joint = " " if len(head) + len(text) + 4 <= width() else "\n"
                    print_paragraphs(printable(f"{head}:{joint}{text}" if head else text), _GAP)
        return
    cells = [[printable(text) for text in row] for row in ([heads, *rows] if heads else rows)]
    longest = [[max(map(len, [*text.splitlines(), ""])) for text in row] for row in cells]
    natural = [max(column) for column in zip(*longest, strict=True)]
    widths = _fitted(natural, width() - len(indent) - len(_GAP) * (len(natural) - 1))
    for number, row in enumerate(cells):
        columns = [
            [part for line in text.splitlines() or [""] for part in _wrapped(line, size)]
            for text, size in zip(row, widths, strict=True)
        ]
        for line in range(max(map(len, columns))):
            parts = [column[line] if line < len(column) else "" for column in columns]
            shown = indent + _GAP.join(f"{part:{size}}" for part, size in zip(parts, widths, strict=True))
            echo(styled(shown.rstrip(), bold=True) if heads and not number else shown.rstrip())


def split_figure(figure: "Figure") -> tuple[str, str]:
    """Return a figure's value and its interval."""
    value, _, interval = str(figure).partition(" (")
    return value, interval.removesuffix(")")


def _fitted(natural: Sequence[int], room: int) -> list[int]:
    """Return widths that fit: narrow columns keep theirs, and the others share the rest."""
    widths = list(natural)
    if sum(widths) <= room:
        return widths
    wide = sorted(range(len(widths)), key=widths.__getitem__)
    while wide:
        share = max(1, room // len(wide))
        widths[wide[0]] = min(widths[wide[0]], share)
        room -= widths[wide.pop(0)]
    return widths


def _wrapped(line: str, size: int) -> list[str]:
    return textwrap.wrap(line, max(1, size), break_on_hyphens=False) or [""]
