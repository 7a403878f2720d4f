"""The text on each check in docs/flags.md, for the page, which must be complete without the docs."""

import re
from collections.abc import Collection

from markdown_it import MarkdownIt
from markupsafe import Markup

from robustlab.shipped import check_texts

_LINK = re.compile(r'<a href="#([\w-]+)">(.*?)</a>', flags=re.DOTALL)


def explanations(shown: Collection[str]) -> dict[str, Markup]:
    """Return the text on each check as HTML, by the check's id; empty if the document is missing.

    Args:
        shown: ids of the checks on the page; links to other checks are removed.
    """
    render = MarkdownIt("commonmark", {"html": False}).render

    def anchored(link: re.Match[str]) -> str:
        return f'<a href="#check-{link[1]}">{link[2]}</a>' if link[1] in shown else link[2]

    # Without the title, which the page shows anyway.
    texts = {name: section.text for name, section in check_texts().items() if name in shown}
    return {name: Markup(_LINK.sub(anchored, render(text))) for name, text in texts.items()}
