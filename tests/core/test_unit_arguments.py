"""What the arguments of every unit refuse, in one line that names the argument."""

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from registered_units import every_unit, instances

from robustlab.attacks import FGSM, PGD, Attack
from robustlab.core.errors import SpecError
from robustlab.core.spec import Unit, parse
from robustlab.threats import L2, Linf, ThreatModel

NO_NUMBERS: list[Any] = [True, False, "2", "0.5", "many", float("nan"), float("inf"), 1e39, -1e39, 10**39]
NO_NUMBERS += [10**5000, np.bool_(True), torch.tensor(True), torch.ones(2), ["1"], {}, object(), b"1", 1j]


@every_unit
@settings(max_examples=10)
@given(data=st.data())
def test_what_is_no_number_is_refused_for_every_number(
    kind: type[Unit], unit: type[Unit], data: st.DataObject
) -> None:
    del kind
    made = data.draw(instances(unit))
    arguments = {field.name: getattr(made, field.name) for field in dataclasses.fields(made)}  # type: ignore[arg-type]
    for name, value in arguments.items():
        if isinstance(value, int | float) and not isinstance(value, bool):
            bad = data.draw(st.sampled_from(NO_NUMBERS))
            with pytest.raises(SpecError, match=rf"^{unit.name}: {name} ") as caught:
                unit(**arguments | {name: bad})
            assert len(str(caught.value).splitlines()) == 1


@every_unit
def test_arguments_by_place_are_shown_by_name(kind: type[Unit], unit: type[Unit]) -> None:
    fields = [field.name for field in dataclasses.fields(unit)]  # type: ignore[arg-type]
    make: Any = unit
    attempts: list[tuple[str, Callable[[], object]]] = [(unit.__name__, lambda: make(3))]
    if not unit.by_place:
        attempts.append((unit.name, lambda: parse(kind, f"{unit.name}(3)")))
    for called, attempt in attempts:
        with pytest.raises(SpecError) as caught:
            attempt()
        assert str(caught.value).startswith(f"{called} takes its arguments by name")
        assert not fields or f"{called}({fields[0]}=3)" in str(caught.value)


@pytest.mark.parametrize("value", [0, 1, 1.0, 3, None, [], torch.tensor(1)])
def test_a_number_is_no_switch(value: Any) -> None:
    with pytest.raises(SpecError, match=r"^fgsm: random_start must be True or False"):
        FGSM(random_start=value)
    assert FGSM(random_start=torch.tensor(True)) == parse(Attack, "fgsm(random_start=true)")  # type: ignore[arg-type]


def test_scalars_of_numpy_and_torch_are_numbers() -> None:
    scalars: list[Any] = [np.float32(0.25), np.array(0.25), torch.tensor(0.25)]
    assert all(Linf(eps=scalar) == Linf(eps=0.25) for scalar in scalars)
    count: Any = np.int64(3)
    assert PGD(steps=count) == PGD(steps=3)
    assert repr(L2(eps=np.float64(2))) == "l2(eps=2.0)"


@pytest.mark.parametrize(("kind", "text"), [(Attack, "pgd(steps=40.0)"), (ThreatModel, "l0(eps=3.0)")])
def test_a_whole_float_is_a_whole_number(kind: type[Unit], text: str) -> None:
    assert parse(kind, text) == parse(kind, text.replace(".0", ""))
