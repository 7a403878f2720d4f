"""Escapes texts of unknown origin before they are printed: names, paths, titles of files."""

from rich import markup

from robustlab.core.text import printable


def escape(text: str) -> str:
    """Return a text without markup for rich and without control characters for the terminal."""
    return markup.escape(printable(text))
