"""``robustlab explain CHECK``: docs/flags.md on a check; torch is not loaded for robustlab's own checks."""

import importlib.metadata
import re
from typing import Any

from robustlab.cli import unit_page
from robustlab.cli.output import kept_for_the_result
from robustlab.cli.texts import plain_paragraphs, print_json, print_paragraphs, print_rows
from robustlab.core.errors import SpecError, did_you_mean
from robustlab.core.text import shown
from robustlab.shipped import check_texts

_LINK = re.compile(r"\[([^\]]*)\]\([^)]*\)")
_BOLD = re.compile(r"\*\*(.+?)\*\*")


def show(check: str | None, *, as_json: bool) -> None:
    """Print the description of a check, or list the checks; an unknown name is a `SpecError`."""
    texts = check_texts()
    if check in texts:
        title, text = texts[check]
        if as_json:
            print_json({"id": check, "title": title, "text": plain(text)})
            return
        print_paragraphs(str(check), bold=True)
        print_paragraphs(f"\n{title}\n\n{plain(text)}")
        return
    others = _of_other_packages()
    titles = {name: section.title for name, section in texts.items()}
    titles |= {name: getattr(unit, "title", "") for name, unit in others.items()}
    if check in others:
        from robustlab.cli.describe import described  # it loads pydantic

        unit_page.show([described(others[check])], as_json=as_json)
    elif check is not None:
        hint = did_you_mean(check, titles)
        raise SpecError(f"unknown check {shown(check)}{hint}; `robustlab explain` lists the checks")
    elif as_json:
        print_json(titles)
    else:
        print_rows(list(titles.items()), indent="")


def plain(text: str) -> str:
    """Return Markdown for the terminal: one line for each paragraph, without markup and links."""
    return _BOLD.sub(r"\1", _LINK.sub(r"\1", plain_paragraphs(text)))


def _of_other_packages() -> dict[str, Any]:
    """Return the checks of other packages by their ids. They are imported, which loads torch."""
    if not importlib.metadata.entry_points(group="robustlab.check"):
        return {}
    with kept_for_the_result():
        from robustlab.core.installed import is_robustlabs
        from robustlab.core.spec import units
        from robustlab.evaluation.checks import Check

        checks = units(Check).values()
    return {unit.id: unit for unit in checks if not is_robustlabs(unit)}
