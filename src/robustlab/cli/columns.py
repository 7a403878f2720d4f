"""Tables that fit the terminal: a narrow terminal shows fewer columns, never fewer digits."""

from collections.abc import Sequence
from typing import NamedTuple

from rich.cells import cell_len
from rich.console import Console
from rich.table import Table
from rich.text import Text

_NARROW = 40
"""A narrower terminal has not enough space for lines between the columns."""
_LABEL = 10
"""With longer text than this, the first column may wrap."""


class Column(NamedTuple):
    """A column of figures; on a narrow terminal the highest ``rank`` is left out first, 0 never."""

    head: str
    rank: int = 0


def print_table(
    console: Console, title: str, label: str, columns: Sequence[Column], rows: Sequence[Sequence[str]]
) -> None:
    """Print a table, and the names of the columns that were left out.

    Args:
        console: the console; its width decides which columns are shown.
        title: the text above the table; all texts may have rich markup.
        label: the head of the first column.
        columns: the other columns.
        rows: for each row a text, and a figure for each column.
    """
    narrow = console.width < _NARROW
    cells = [[row[n] for row in rows] for n in range(1, len(columns) + 1)]
    widths = [
        max(map(_length, [*column.head.split(), *below]))
        for column, below in zip(columns, cells, strict=True)
    ]
    least = min(_LABEL, max((_length(row[0]) for row in rows), default=0))
    between = 1 if narrow else 3
    kept = list(range(len(columns)))
    while least + sum(widths[n] + between for n in kept) + (0 if narrow else 4) > console.width:
        droppable = [n for n in kept if columns[n].rank]
        if not droppable:
            break
        kept.remove(max(droppable, key=lambda n: columns[n].rank))
    table = Table(title=title, title_justify="left")
    if narrow:
        table = Table(title=title, title_justify="left", box=None, padding=(0, 1, 0, 0), pad_edge=False)
    table.add_column(label, overflow="fold")
    for n in kept:
        table.add_column(columns[n].head, justify="right", width=widths[n])
    for row in rows:
        table.add_row(row[0], *(row[n + 1] for n in kept))
    console.print(table)
    if left_out := [column.head for n, column in enumerate(columns) if n not in kept]:
        console.print(f"[dim]Not shown, for lack of width: {', '.join(left_out)}.[/dim]")


def _length(markup: str) -> int:
    return cell_len(Text.from_markup(markup).plain)
