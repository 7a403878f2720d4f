"""How the commands print texts that others wrote: names, paths, titles of files."""

from rich import markup

from robustlab.core.text import printable

__all__ = ["escape"]


def escape(text: str) -> str:
    """Return a text of which neither rich nor the terminal takes a part for a command."""
    return markup.escape(printable(text))
