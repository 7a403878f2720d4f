"""``robustlab ls``: what can be named in a recipe or on the command line."""

import inspect
import json
import sys

from rich.console import Console

from robustlab.attacks import Attack, Criterion, Gradient
from robustlab.certify import Certifier
from robustlab.cli import explain
from robustlab.cli.columns import print_texts
from robustlab.cli.escaping import escape
from robustlab.cli.output import kept_for_the_result
from robustlab.core.errors import SpecError, did_you_mean
from robustlab.core.spec import Unit, units
from robustlab.core.text import shown
from robustlab.data import Dataset
from robustlab.defenses import Defense
from robustlab.detectors import Detector
from robustlab.evaluation.checks import Check
from robustlab.evaluation.engines import Engine
from robustlab.evaluation.ensembles import Ensemble
from robustlab.models import Model, zoo_names
from robustlab.models.sources import Source
from robustlab.study import shipped_recipes
from robustlab.threats import ThreatModel
from robustlab.training import Augmentation, Averaging, Objective, Optimizer, Schedule

_KINDS: dict[str, type[Unit]] = {
    "attacks": Attack,
    "augmentations": Augmentation,
    "averagings": Averaging,
    "certifiers": Certifier,
    "checks": Check,
    "criteria": Criterion,
    "datasets": Dataset,
    "defenses": Defense,
    "detectors": Detector,
    "engines": Engine,
    "ensembles": Ensemble,
    "gradients": Gradient,
    "models": Model,
    "objectives": Objective,
    "optimizers": Optimizer,
    "schedules": Schedule,
    "sources": Source,
    "threats": ThreatModel,
}


def show(kind: str | None, *, as_json: bool) -> None:
    """Print the units of one kind, or of all; or, given a name, all about it.

    Raises:
        SpecError: there is no such kind, and no such unit.
    """
    with kept_for_the_result():  # other packages register units when they are imported, and may print
        for base in _KINDS.values():
            units(base)
    # Checks go by their ids, for an attack may have the name of one. Of two kinds the first has the name.
    by_name = {_known_as(unit): unit for base in reversed(_KINDS.values()) for unit in units(base).values()}
    files = {"zoo": zoo_names(), "recipes": {name: str(path) for name, path in shipped_recipes().items()}}
    everything = {name: _described(base) for name, base in _KINDS.items()} | files
    if kind is not None:
        named = {title: {kind: entries[kind]} for title, entries in files.items() if kind in entries}
        if kind in by_name and kind not in everything:
            if not named:
                explain.show(by_name[kind], as_json=as_json)
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
    if as_json:
        sys.stdout.write(json.dumps(everything, indent=2) + "\n")
        return
    console = Console(highlight=False)
    for title, entries in everything.items():
        console.print(f"[italic]{title}[/italic]")
        print_texts(console, [(escape(name), escape(text)) for name, text in entries.items()])
        console.print()


def _described(kind: type[Unit]) -> dict[str, str]:
    """Return each unit's signature with the first line of its docstring; of a check what a failure means."""
    return {
        f"{_known_as(unit)}{_arguments(unit)}": unit.summary().replace("``", "")
        for unit in units(kind).values()
    }


def _known_as(unit: type[Unit]) -> str:
    return unit.id if issubclass(unit, Check) else unit.name


def _arguments(unit: type[Unit]) -> str:
    parameters = inspect.signature(unit).parameters.values()
    words = [p.name if p.default is p.empty else f"{p.name}={_short(p.default)}" for p in parameters]
    return f"({', '.join(words)})" if words else ""


def _short(value: object) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)
