"""``robustlab ls``: the names for recipes and the command line."""

import importlib
import importlib.metadata
import inspect
import json
import re
import sys
from collections.abc import Iterable, Sequence
from itertools import groupby

from robustlab.cli import catalogue, describe
from robustlab.cli.attack_groups import grouped, properties
from robustlab.cli.output import kept_for_the_result
from robustlab.cli.texts import echo, print_paragraphs, print_rows
from robustlab.core.errors import SpecError, did_you_mean
from robustlab.core.spec import Unit, kind_of, units
from robustlab.core.text import shown
from robustlab.shipped import shipped_recipes, zoo_names

_PLURAL = {"criterion": "criteria"}
_SINGULAR = {plural: kind for kind, plural in _PLURAL.items()}


def show(kind: str | None, *, as_json: bool) -> None:
    """Print the units of one kind, or of all kinds; or the description of one unit.

    Raises:
        SpecError: there is neither such a kind nor such a unit.
    """
    files = {"zoo": zoo_names(), "recipes": {name: str(path) for name, path in shipped_recipes().items()}}
    kinds = {} if kind in files else _kinds(kind or "")
    # Checks are listed by their ids, since an attack may have the same name. If two kinds have a name, the
    # first one counts.
    by_name = {describe.known_as(unit): unit for found in reversed(kinds.values()) for unit in found}
    everything = {name: _described(found) for name, found in kinds.items()} | files
    if kind is not None:
        named = {title: {kind: entries[kind]} for title, entries in files.items() if kind in entries}
        if kind in by_name and kind not in everything:
            if not named:
                describe.show(by_name[kind], as_json=as_json)
                return
            named[f"{by_name[kind].kind}s"] = {kind: by_name[kind].summary()}
        if kind not in everything and not named:
            names = [name for entries in everything.values() for name in entries if name.isidentifier()]
            hint = did_you_mean(kind, [*everything, *by_name, *names])
            raise SpecError(
                f"there is no kind or unit {shown(kind)}{hint}; kinds: {', '.join(everything)}; "
                "of each of these `robustlab ls KIND` shows the units"
            )
        everything = {kind: everything[kind]} if kind in everything else named
    attacks = kinds.get("attacks", []) if kind in {None, "attacks"} else []
    if as_json:
        of_attacks = {attack.name: properties(attack) for attack in attacks}
        more = {"attack_properties": of_attacks} if of_attacks else {}
        sys.stdout.write(json.dumps(everything | more, indent=2) + "\n")
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


def _show_attacks(attacks: Sequence[type[Unit]]) -> None:
    for access, by_norm in grouped(attacks).items():
        print_paragraphs(access, " " * 2)
        for norms, found in by_norm.items():
            print_paragraphs(norms, " " * 4)
            print_rows(list(_described(found).items()), indent=" " * 6)


def _kinds(name: str) -> dict[str, list[type[Unit]]]:
    """Return the units of each kind, or only those of a name if robustlab has such units.

    Otherwise units of other packages are included; they are imported, which loads torch. They are also
    included if torch is loaded already.
    """
    groups = importlib.metadata.entry_points().groups
    named = [unit for unit in catalogue.own_units(name) if describe.known_as(unit) == name] if name else []
    kind = _SINGULAR.get(name, name[:-1])
    found = named or catalogue.own_units(kind=kind) or catalogue.own_units()
    if "torch" in sys.modules or any(re.match(r"robustlab\.(?!zoo$)", group) for group in groups):
        bases = dict.fromkeys(map(kind_of, catalogue.own_units()))
        with kept_for_the_result():  # other packages register units when they are imported, and may print
            kinds = [getattr(importlib.import_module(base.__module__), base.__name__) for base in bases]
            for base in kinds:
                units(base)
        found = [unit for base in kinds for unit in units(base).values()]
    by_kind = groupby(found, key=lambda unit: unit.kind)
    return {_PLURAL.get(kind, f"{kind}s"): list(same) for kind, same in by_kind}


def _described(found: Iterable[type[Unit]]) -> dict[str, str]:
    """Return each unit's signature with the first line of its docstring; of a check a failure's meaning."""
    return {
        f"{describe.known_as(unit)}{_arguments(unit)}": unit.summary().replace("``", "") for unit in found
    }


def _arguments(unit: type[Unit]) -> str:
    parameters = inspect.signature(unit).parameters.values()
    words = [p.name if p.default is p.empty else f"{p.name}={_short(p.default)}" for p in parameters]
    return f"({', '.join(words)})" if words else ""


def _short(value: object) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)
