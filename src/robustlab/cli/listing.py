"""``robustlab ls``: the names for recipes and the command line."""

import importlib
import importlib.metadata
import itertools
import re
import sys
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

from robustlab.cli import unit_page
from robustlab.cli.attack_groups import grouped
from robustlab.cli.output import kept_for_the_result
from robustlab.cli.own_units import own_units
from robustlab.cli.texts import echo, print_json, print_paragraphs, print_rows
from robustlab.core.aliases import current
from robustlab.core.errors import SpecError, did_you_mean
from robustlab.core.text import shown
from robustlab.shipped import shipped_recipes, zoo_names

_PLURAL = {"criterion": "criteria"}


class _Entry(NamedTuple):
    """A unit: `describe.listed` of it, and what returns `describe.described`."""

    listed: dict[str, Any]
    described: Callable[[], dict[str, Any]]


def show(kind: str | None, *, as_json: bool) -> None:
    """Print the units of one kind or of all, or describe one unit; an unknown name is a `SpecError`."""
    files = {"zoo": zoo_names(), "recipes": {name: str(path) for name, path in shipped_recipes().items()}}
    kinds = {} if kind in files else _kinds()
    by_name: dict[str, list[_Entry]] = {}  # two kinds may have a unit of one name
    for unit in itertools.chain.from_iterable(kinds.values()):
        by_name.setdefault(unit.listed["name"], []).append(unit)
    lists = {name: [unit.listed for unit in units] for name, units in kinds.items()}
    everything = {name: _summaries(listed) for name, listed in lists.items()} | files
    if kind is not None:
        kind = current(kind, by_name)
        named = {title: {kind: entries[kind]} for title, entries in files.items() if kind in entries}
        if kind in by_name and kind not in everything:
            if not named:
                unit_page.show([unit.described() for unit in by_name[kind]], as_json=as_json)
                return
            for unit in by_name[kind]:
                named[_plural(unit.listed["kind"])] = {kind: unit.listed["summary"]}
        if kind not in everything and not named:
            names = [name for entries in everything.values() for name in entries if name.isidentifier()]
            hint = did_you_mean(kind, [*everything, *by_name, *names])
            raise SpecError(
                f"there is no kind or unit {shown(kind)}{hint}; kinds: {', '.join(everything)}; "
                "of each of these `robustlab ls KIND` shows the units"
            )
        everything = {kind: everything[kind]} if kind in everything else named
    attacks = lists.get("attacks", []) if kind in {None, "attacks"} else []
    if as_json:
        of_attacks = {attack["name"]: attack["properties"] for attack in attacks}
        more = {"attack_properties": of_attacks} if of_attacks else {}
        print_json(everything | more)
        return
    for title, entries in everything.items():
        print_paragraphs(title, italic=True)
        if title == "attacks" and attacks:
            _show_attacks(attacks)
        else:
            print_rows(list(entries.items()))
        echo()
    if kind is None:
        print_paragraphs("Your model contains a defense? docs/evaluate-a-defense.md says what to run.")


def _show_attacks(attacks: Sequence[dict[str, Any]]) -> None:
    for access, by_norm in grouped(attacks).items():
        print_paragraphs(access, " " * 2)
        for norms, group in by_norm.items():
            print_paragraphs(norms, " " * 4)
            print_rows(list(_summaries(group).items()), indent=" " * 6)


def _kinds() -> dict[str, list[_Entry]]:
    """Return the units of each kind."""
    groups = importlib.metadata.entry_points().groups
    if "torch" in sys.modules or any(re.match(r"robustlab\.(?!zoo$)", group) for group in groups):
        entries = _imported_units()
    else:
        entries = [_Entry(unit["listed"], partial(unit.__getitem__, "described")) for unit in own_units()]
    by_kind = itertools.groupby(entries, key=lambda unit: unit.listed["kind"])
    return {_plural(kind): list(same) for kind, same in by_kind}


def _plural(kind: str) -> str:
    return _PLURAL.get(kind, f"{kind}s")


def _imported_units() -> list[_Entry]:
    """Return all units, those of other packages included. They are imported, which loads torch."""
    from robustlab.cli import catalogue, describe
    from robustlab.core.spec import kind_of, units

    bases = dict.fromkeys(map(kind_of, catalogue.own_units()))
    catalogue.forget()
    with kept_for_the_result():  # other packages register units when they are imported, and may print
        kinds = [getattr(importlib.import_module(base.__module__), base.__name__) for base in bases]
        for base in kinds:
            units(base)
    classes = [unit for base in kinds for unit in units(base).values()]
    return [_Entry(describe.listed(unit), partial(describe.described, unit)) for unit in classes]


def _summaries(listed: Sequence[dict[str, Any]]) -> dict[str, str]:
    return {unit["usage"]: unit["summary"] for unit in listed}
