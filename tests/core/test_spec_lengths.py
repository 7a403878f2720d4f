"""Which arguments are lengths on the pixel scale, and how they are scaled."""

import dataclasses
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st
from registered_units import REGISTERED, every_unit, instances

from robustlab.attacks import PGD, Attack, FGSMLiteralClamp, Smoothed
from robustlab.core.errors import SpecError
from robustlab.core.spec import Unit, has_lengths, nested_kinds, pixel_fields, scaled
from robustlab.defenses import AdversarialTraining
from robustlab.threats import L2, Linf, ThreatModel


def lengths(unit: Unit) -> Iterator[float]:
    for field in dataclasses.fields(unit):  # type: ignore[arg-type]
        value = getattr(unit, field.name)
        if isinstance(value, Unit):
            yield from lengths(value)
        elif field.name in pixel_fields(type(unit)):
            yield value


def others(unit: Unit) -> list[object]:
    """Everything in a unit but its lengths."""
    result: list[object] = [type(unit)]
    for field in dataclasses.fields(unit):  # type: ignore[arg-type]
        value = getattr(unit, field.name)
        if isinstance(value, Unit):
            result.append(others(value))
        elif field.name not in pixel_fields(type(unit)):
            result.append(value)
    return result


@every_unit
@given(data=st.data(), factor=st.floats(0, 1))
def test_scaling_multiplies_lengths_and_nothing_else(
    kind: type[Unit], unit: type[Unit], data: st.DataObject, factor: float
) -> None:
    del kind
    original = data.draw(instances(unit))
    changed = scaled(original, factor)
    assert list(lengths(changed)) == [length * factor for length in lengths(original)]
    assert others(changed) == others(original)
    assert has_lengths(original) == bool(list(lengths(original)))


@every_unit
@given(data=st.data())
def test_scaling_by_one_is_the_identity(kind: type[Unit], unit: type[Unit], data: st.DataObject) -> None:
    del kind
    original = data.draw(instances(unit))
    assert scaled(original, 1.0) == original


def test_what_counts_as_a_length_is_declared() -> None:
    found = {(unit.name, name) for _, unit in REGISTERED for name in pixel_fields(unit)}
    assert found == {
        ("gaussian_noise", "std"),
        ("linf", "eps"),
        ("l2", "eps"),
        ("l1", "eps"),
        ("ddn", "radius"),
        ("smoothed", "std"),
        ("spsa", "delta"),
        ("finite_differences", "delta"),
    }
    assert not has_lengths(None)
    assert not has_lengths(PGD())
    assert not has_lengths(FGSMLiteralClamp(eps=0.25))


def test_scaling_reaches_nested_units() -> None:
    def defense(std: float, eps: float) -> AdversarialTraining:
        attack = Smoothed(attack=PGD(), std=std)
        return AdversarialTraining(attack=attack, threat=L2(eps=eps), source="b", fraction=0.5)

    assert scaled(defense(0.2, 3.0), 0.5) == defense(0.1, 1.5)
    assert nested_kinds(AdversarialTraining) == {"attack": Attack, "threat": ThreatModel}


def test_scaling_out_of_range_is_an_error() -> None:
    with pytest.raises(SpecError, match=r"linf: eps should be less than or equal to 1, found 1\.8"):
        scaled(Linf(eps=0.9), 2.0)
    assert scaled(L2(eps=0.9), 2.0) == L2(eps=1.8)
