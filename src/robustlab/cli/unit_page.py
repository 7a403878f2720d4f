"""``robustlab ls NAME``: prints the description of one unit."""

import json
import sys
from typing import Any

from robustlab.cli.texts import echo, print_paragraphs, print_rows, styled
from robustlab.core.text import printable

_HEADINGS = {
    "name": "argument",
    "default": "default",
    "accepted": "accepted",
    "meaning": "what it means",
}


def show(found: dict[str, Any], *, as_json: bool) -> None:
    """Print what a unit is, as `describe.described` returned it."""
    if as_json:
        sys.stdout.write(json.dumps(found, indent=2) + "\n")
        return
    echo(f"{styled(printable(found['name']), bold=True)}  {styled(printable(found['kind']), dim=True)}\n")
    if "access" in found:
        print_paragraphs(f"{', '.join(dict.fromkeys([found['access'], *found['norms']]))}\n\n")
    print_paragraphs(printable(f"{found['text']}\n\n{found['source']}"))
    if arguments := found["arguments"]:
        rows = [[_text(argument.get(key, "")) for key in _HEADINGS] for argument in arguments]
        echo()
        print_rows(rows, list(_HEADINGS.values()), indent="")


def _text(value: object) -> str:
    """Return a value as Python spells it; JSON made a list of a tuple, and no default is a list."""
    return str(tuple(value) if isinstance(value, list) else value)
