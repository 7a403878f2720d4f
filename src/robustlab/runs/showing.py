"""A finished run in a few lines, as text and as HTML for a notebook."""

from collections.abc import Mapping, Sequence
from html import escape

from robustlab.core.text import printable

_MOST_ROWS = 30
"""The largest number of rows of a table in a notebook; the page shows all."""


def text_of(title: str, facts: Mapping[str, str]) -> str:
    """Return a title and facts, one a line."""
    width = max(map(len, facts))
    return "\n".join([title, *(f"  {name:{width}}  {fact}" for name, fact in facts.items())])


def html_of(
    title: str, facts: Mapping[str, str], head: Sequence[str] = (), rows: Sequence[Sequence[str]] = ()
) -> str:
    """Return a title, facts and a table as a piece of HTML, escaped.

    It sets no colour, so that it can be read on a light and on a dark page, and loads nothing.
    """
    listed = "".join(
        f'<tr><th scope="row" style="text-align: left; padding-right: 1.5em">{_escaped(name)}</th>'
        f'<td style="text-align: left">{_escaped(fact)}</td></tr>'
        for name, fact in facts.items()
    )
    parts = [f"<p><b>{_escaped(title)}</b></p>", f"<table><tbody>{listed}</tbody></table>"]
    if rows:
        heads = "".join(f'<th scope="col" style="text-align: left">{_escaped(name)}</th>' for name in head)
        lines = "".join(
            "<tr>" + "".join(f'<td style="text-align: left">{_escaped(cell)}</td>' for cell in row) + "</tr>"
            for row in rows[:_MOST_ROWS]
        )
        parts.append(f"<table><thead><tr>{heads}</tr></thead><tbody>{lines}</tbody></table>")
    if len(rows) > _MOST_ROWS:
        parts.append(f"<p>and {len(rows) - _MOST_ROWS} more rows</p>")
    return f"<div>{''.join(parts)}</div>"


def _escaped(text: str) -> str:
    return escape(printable(text))
