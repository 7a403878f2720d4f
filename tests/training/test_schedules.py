"""Learning-rate schedules."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from robustlab.core.errors import SpecError
from robustlab.core.spec import parse, units
from robustlab.training import Constant, Cosine, Milestones, Schedule, Triangle, Warmup

SHARES = st.floats(0.01, 0.99)


@pytest.mark.parametrize("peak", [0.4, 0.1, 0.75])
def test_the_triangle(peak: float) -> None:
    schedule = Triangle(peak=peak)
    assert [schedule.scale(x) for x in (0.0, peak, 1.0)] == pytest.approx([0.0, 1.0, 0.0])
    assert schedule.scale(peak / 2) == pytest.approx(0.5)
    assert schedule.scale((1 + peak) / 2) == pytest.approx(0.5)


def test_the_cosine() -> None:
    found = [Cosine().scale(x) for x in (0.0, 1 / 3, 0.5, 1.0)]
    assert found == pytest.approx([1.0, 0.75, 0.5, 0.0])


def test_milestones_count_from_where_they_are() -> None:
    schedule = Milestones(at=(0.5, 0.75), factor=0.1)
    found = [schedule.scale(x) for x in (0.0, 0.499, 0.5, 0.749, 0.75, 1.0)]
    assert found == pytest.approx([1.0, 1.0, 0.1, 0.1, 0.01, 0.01])
    assert Milestones(at=()).scale(1.0) == 1.0


@given(share=SHARES, x=st.floats(0, 1))
def test_a_warm_up_leads_to_the_schedule_behind_it(share: float, x: float) -> None:
    schedule = Warmup(share=share, then=Cosine())
    assert schedule.scale(x * share * 0.999) == pytest.approx(0.999 * x, abs=1e-9)
    assert schedule.scale(share + x * (1 - share)) == pytest.approx((1 + math.cos(math.pi * x)) / 2, abs=1e-9)


def test_constant_is_one() -> None:
    assert {Constant().scale(x / 10) for x in range(11)} == {1.0}


@pytest.mark.parametrize("name", units(Schedule))
@given(x=st.floats(0, 1))
def test_every_schedule_is_a_factor(name: str, x: float) -> None:
    assert 0 <= parse(Schedule, name).scale(x) <= 1


@pytest.mark.parametrize("text", ["triangle(peak=0)", "triangle(peak=1)", "milestones(at=(0.5, 1.5))"])
def test_points_lie_inside_the_training(text: str) -> None:
    with pytest.raises(SpecError, match=r"(peak|at) .*found"):
        parse(Schedule, text)
