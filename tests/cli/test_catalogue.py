"""What is said of a unit by its source file is what is said of it when it is imported."""

import importlib
import pkgutil
from typing import Any

import pytest

import robustlab
from robustlab.cli import catalogue, describe
from robustlab.core.spec import Unit, units


def said_of(unit: type[Unit]) -> dict[str, Any]:
    return {**describe.listed(unit), **describe.described(unit)}


def registered() -> list[type[Unit]]:
    """Return all units of robustlab, from all of its modules."""
    for module in pkgutil.walk_packages(robustlab.__path__, "robustlab."):
        if not module.name.endswith("__main__"):
            importlib.import_module(module.name)
    found = [unit for kind in Unit.__subclasses__() for unit in units(kind).values()]
    return [unit for unit in found if unit.__module__.startswith("robustlab.")]


def test_a_unit_is_described_as_if_it_were_imported(monkeypatch: pytest.MonkeyPatch) -> None:
    by_source = [said_of(unit) for unit in catalogue.own_units()]
    monkeypatch.setattr(catalogue, "source", lambda _: None)  # then the imported classes are inspected
    imported = sorted(registered(), key=lambda unit: (unit.kind, unit.name))
    assert by_source == [said_of(unit) for unit in imported]
    assert len(by_source) > 100
