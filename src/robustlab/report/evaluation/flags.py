"""What docs/flags.md says of each check, for the page: it must be readable where the docs are not."""

import re
from collections.abc import Collection
from pathlib import Path

from markdown_it import MarkdownIt
from markupsafe import Markup

_PACKAGE = Path(__file__).parents[1]
_FILES = (_PACKAGE / "flags.md", _PACKAGE / ".." / ".." / ".." / "docs" / "flags.md")
"""In an installed package, and in a checkout."""

_SECTION = re.compile(r"^## (\S+)\n\n\*[^\n]*\*\n(.*?)(?=^## |\Z)", flags=re.MULTILINE | re.DOTALL)
"""The heading, which is a check's id; its title, which the page shows anyway; the text."""
_LINK = re.compile(r'<a href="#([\w-]+)">(.*?)</a>', flags=re.DOTALL)


def explanations(shown: Collection[str]) -> dict[str, Markup]:
    """Return the text on each check as HTML, by the check's id; nothing where the document is not there.

    Args:
        shown: ids of the checks that the page has: a link to another one would lead nowhere.
    """
    file = next((file for file in _FILES if file.is_file()), None)
    if file is None:
        return {}
    render = MarkdownIt("commonmark", {"html": False}).render

    def anchored(link: re.Match[str]) -> str:
        return f'<a href="#check-{link[1]}">{link[2]}</a>' if link[1] in shown else link[2]

    sections = _SECTION.findall(file.read_text(encoding="utf-8"))
    return {name: Markup(_LINK.sub(anchored, render(text))) for name, text in sections if name in shown}
