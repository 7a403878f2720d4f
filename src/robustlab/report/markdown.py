"""The parts of every report in Markdown: escaped text, code and tables."""

import re
from collections.abc import Iterable

from robustlab.report import text


def plain(content: str) -> str:
    """Return a text with Markdown's markup escaped."""
    return re.sub(r"([\\`*\[\]<>|#])", r"\\\1", " ".join(content.split(" ")).replace("\n", " "))


def code(content: str | None) -> str:
    """Return a spec as code; a table's cell must not contain an unescaped bar or backtick."""
    if content is None:
        return "–"
    shown = text.spec(content).replace("`", "'").replace("|", "\\|").replace("\n", " ")
    return f"`{shown}`"


def table(head: list[str], lines: Iterable[list[str]]) -> str:
    """Return a table."""
    rows = [head, ["---"] * len(head), *lines]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)
