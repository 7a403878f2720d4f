"""Numbers in specs: a number of 8-bit levels is written as one, and reads back as the same number."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from robustlab.core.errors import SpecError
from robustlab.core.spec import parse
from robustlab.core.text import of_255, respelled, spelled
from robustlab.threats import L2, Linf, ThreatModel


@pytest.mark.parametrize(
    ("value", "written"),
    [
        (8 / 255, "8/255"),
        (1 / 255, "1/255"),
        (17 / 255, "17/255"),
        (0.5 / 255, "0.5/255"),
        (300 / 255, "300/255"),
        (51 / 255, "0.2"),
        (1 / 3, "0.3333333333333333"),
        (0.1 / 3, "0.03333333333333333"),
        (0.0313725, "0.0313725"),
        (0.1, "0.1"),
        (0.0, "0.0"),
        (1.0, "1.0"),
        (-8 / 255, repr(-8 / 255)),
    ],
)
def test_levels_are_written_as_levels(value: float, written: str) -> None:
    assert spelled(value) == written


@given(
    st.floats(0, 1) | st.integers(0, 255).map(lambda k: k / 255) | st.integers(0, 510).map(lambda k: k / 510)
)
def test_a_threat_model_reads_back_as_the_same_number(eps: float) -> None:
    assert parse(ThreatModel, repr(Linf(eps=eps))) == Linf(eps=eps)
    assert parse(ThreatModel, repr(L2(eps=eps))) == L2(eps=eps)


@pytest.mark.parametrize("typed", ["8/255", "16/510", "0.03137254901960784", "0.031372549019607843"])
def test_the_spec_does_not_depend_on_how_a_number_was_typed(typed: str) -> None:
    assert repr(parse(ThreatModel, f"linf(eps={typed})")) == "linf(eps=8/255)"
    assert Linf(eps=8 / 255).brief() == "linf(eps=8/255)"


def test_specs_of_older_results_are_written_as_now() -> None:
    assert respelled("linf(eps=0.03137254901960784)") == "linf(eps=8/255)"
    for same in ("linf(eps=0.3)", "linf(eps=8/255)", "linf(eps=0.123456)", "l0(eps=3.0)"):
        assert respelled(same) == same


@pytest.mark.parametrize("typed", ["8/0", "1/3/x", "linf/2"])
def test_what_is_not_a_fraction_is_refused(typed: str) -> None:
    with pytest.raises(SpecError):
        parse(ThreatModel, f"linf(eps={typed})")


@pytest.mark.parametrize(
    ("value", "written"),
    [
        (4 / 255, "4/255"),
        (float(torch.tensor(8 / 255)), "8/255"),
        (0.0313, ""),
        (0.2, ""),
        (float(torch.tensor(0.2)), ""),
        (0.0, ""),
        (1.0, ""),
        (2.0, ""),
    ],
)
def test_a_length_on_the_scale_of_8_bits_is_a_fraction(value: float, written: str) -> None:
    assert of_255(value) == written
