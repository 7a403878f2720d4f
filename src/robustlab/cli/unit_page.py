"""``robustlab ls NAME``: prints the description of a unit, or of each unit of that name."""

from collections.abc import Sequence
from typing import Any

from robustlab.cli.texts import echo, print_json, print_paragraphs, print_rows, styled
from robustlab.core.text import printable

_HEADINGS = {
    "name": "argument",
    "default": "default",
    "accepted": "accepted",
    "meaning": "what it means",
}


def show(found: Sequence[dict[str, Any]], *, as_json: bool) -> None:
    """Print what units of one name are, as `describe.described` returned it.

    In JSON the object of the first one has the others under ``"same_name"``.
    """
    if as_json:
        first, *others = found
        print_json(first | ({"same_name": others} if others else {}))
        return
    for place, unit in enumerate(found):
        if place:
            echo()
        _show(unit)


def _show(found: dict[str, Any]) -> None:
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
