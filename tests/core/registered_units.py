"""Every registered unit of every kind, with any arguments."""

import dataclasses
import types
import typing
from typing import Annotated, Any

import pytest
from hypothesis import strategies as st
from pydantic.fields import FieldInfo

from robustlab.attacks import PGD, Attack, Criterion, ExactGradient, Gradient
from robustlab.core.arguments import LARGEST_COUNT, LARGEST_FLOAT
from robustlab.core.errors import SpecError
from robustlab.core.spec import Unit, nested_kinds, units
from robustlab.data import Dataset
from robustlab.defenses import Defense
from robustlab.detectors import Detector
from robustlab.exporters import Exporter
from robustlab.models import CNN, DeepCNN, Model, PurifierModel, Reformer
from robustlab.models.sources import FromServer, Source
from robustlab.threats import Linf, Masked, ThreatModel
from robustlab.training import (
    AWP,
    SABR,
    Alternating,
    Augmentation,
    Averaging,
    CROWNIBPTraining,
    EpsRamp,
    IBPTraining,
    Mixed,
    Objective,
    Optimizer,
    PGDTraining,
    Purifying,
    Schedule,
    Trades,
)

KINDS: list[type[Unit]] = [Attack, Criterion, Gradient, ThreatModel, Model, Objective, Defense, Detector]
KINDS += [Source, Dataset, Optimizer, Schedule, Augmentation, Averaging, Exporter]
REGISTERED = [(kind, unit) for kind in KINDS for unit in units(kind).values()]

every_unit = pytest.mark.parametrize(
    ("kind", "unit"), REGISTERED, ids=[f"{kind.kind}-{unit.name}" for kind, unit in REGISTERED]
)


def instances(unit: type[Unit]) -> st.SearchStrategy[Unit]:
    """Units of a class with any arguments that their annotations allow."""
    hints = typing.get_type_hints(unit, include_extras=True)
    arguments = {field.name: _values(hints[field.name]) for field in dataclasses.fields(unit)}  # type: ignore[arg-type]
    if unit in (PGDTraining, Mixed):  # of all attacks they take one, without restarts, by exact gradients
        fixed = {"restarts": 1, "start": "random", "gradient": ExactGradient()}
        arguments["attack"] = instances(PGD).map(lambda pgd: PGD(**vars(pgd) | fixed))
    if unit in (PGDTraining, Mixed, IBPTraining, SABR, CROWNIBPTraining):
        arguments["threat"] = instances(Linf)
    if unit in (IBPTraining, SABR, CROWNIBPTraining):
        arguments |= {"warmup": st.floats(0.0, 0.5), "ramp": st.floats(0.5, 0.99)}
    if unit is DeepCNN:  # as many of the one as of the other
        arguments |= {"channels": st.tuples(st.integers(1, 9)), "strides": st.tuples(st.integers(1, 8))}
    if unit is PurifierModel:
        arguments |= {"network": instances(Reformer), "classifier": instances(CNN)}
    if unit is Masked:
        arguments |= {"threat": instances(Linf), "fixed": st.just((0, 3))}
    if unit in (AWP, EpsRamp, Purifying):
        arguments["objective"] = instances(Trades)
    if unit is Alternating:
        arguments |= dict.fromkeys(("first", "second"), instances(Trades))
    if unit is FromServer:  # an address, and names of a header and of a variable of the environment
        arguments["url"] = st.sampled_from(["http://localhost:8000", "https://a.b/c?key={KEY}"])
        arguments |= {"header": st.just("X-API-Key"), "token": st.just("MY_TOKEN")}
    # Some arguments only go together with certain others.
    drawn = st.fixed_dictionaries(arguments).map(lambda chosen: _allowed(unit, chosen))
    return drawn.filter(lambda made: made is not None)  # type: ignore[return-value]


def _allowed(unit: type[Unit], arguments: dict[str, Any]) -> Unit | None:
    try:
        return unit(**arguments)
    except SpecError:
        return None


def _values(hint: Any) -> st.SearchStrategy[Any]:
    if typing.get_origin(hint) is typing.Literal:
        return st.sampled_from(typing.get_args(hint))
    if typing.get_origin(hint) in {types.UnionType, typing.Union}:
        return st.one_of([_values(choice) for choice in typing.get_args(hint)])
    if hint is type(None):
        return st.none()
    if typing.get_origin(hint) is tuple:
        parts = typing.get_args(hint)
        if parts[-1] is ...:
            return st.lists(_values(parts[0]), max_size=3).map(tuple)
        return st.tuples(*map(_values, parts))
    if hint is bool:
        return st.booleans()
    kind: Any
    kind, *extras = typing.get_args(hint) if typing.get_origin(hint) is Annotated else (hint,)
    if typing.get_origin(kind) in {types.UnionType, typing.Union}:
        return _values(kind)
    limits: dict[str, float] = {}
    for rule in (rule for extra in extras if isinstance(extra, FieldInfo) for rule in extra.metadata):
        limits |= {name: getattr(rule, name) for name in ("ge", "gt", "le", "lt") if hasattr(rule, name)}
    low, high = limits.get("ge", limits.get("gt")), limits.get("le", limits.get("lt"))
    if issubclass(kind, Unit):
        # A unit inside a unit inside a unit has no end.
        return st.one_of(
            [instances(unit) for unit in units(kind).values() if kind not in nested_kinds(unit).values()]
        )
    if kind is str:
        return st.text(min_size=1) | st.from_regex(r"[a-z][a-z0-9_]{0,8}", fullmatch=True)
    if kind is int:
        most = LARGEST_COUNT if high is None else int(high)
        return st.integers(-LARGEST_COUNT if low is None else int(low), most)
    assert kind is float, f"no strategy for {hint}"
    return st.floats(
        -LARGEST_FLOAT if low is None else low,
        LARGEST_FLOAT if high is None else high,
        exclude_min="gt" in limits,
        exclude_max="lt" in limits,
        allow_nan=False,
        allow_infinity=False,
    )
