"""The number of threads is chosen by measurement."""

from collections.abc import Callable, Iterator

import pytest
import torch

from robustlab.attacks import PGD
from robustlab.core import threads
from robustlab.core.errors import SetupError
from robustlab.core.isolation import own_settings
from robustlab.core.threads import VARIABLE, ThreadChooser, begin_work, measured_threads, shares
from robustlab.models import CNN, Shape
from robustlab.threats import Linf

Seconds = Callable[[int], float]
"""How long a piece of work takes with a number of threads."""


@pytest.fixture(autouse=True)
def two_threads(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv(VARIABLE, "measured")
    monkeypatch.setattr(threads._own, "chooser", ThreadChooser())
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


class Clock:
    """A clock that only work moves."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def used_by(
    chooser: ThreadChooser, clock: Clock, took: Seconds, pieces: int, kind: str = "pass"
) -> list[int]:
    """Do pieces of work, and return the number of threads of each."""
    used = []
    for _ in range(pieces):
        chooser.begin(kind)
        used.append(torch.get_num_threads())
        clock.now += took(used[-1])
    chooser.end()
    return used


def quiet(number: int) -> float:
    return 0.01 / number


def busy(number: int) -> float:
    return 0.01 if number == 1 else 0.04


@pytest.mark.parametrize(("took", "best"), [(quiet, 2), (busy, 1)])
def test_the_faster_number_is_used(took: Seconds, best: int) -> None:
    clock = Clock()
    used = used_by(ThreadChooser(clock), clock, took, 60)
    assert used[:2] == [2, 1]
    assert set(used[10:]) == {best}
    assert torch.get_num_threads() == 2


def test_the_choice_follows_the_neighbours() -> None:
    clock = Clock()
    chooser = ThreadChooser(clock)
    for took, best in ((quiet, 2), (busy, 1), (quiet, 2)):
        used = used_by(chooser, clock, took, 2_000)
        assert used[-100:].count(best) > 80


def test_a_choice_that_turns_out_slow_is_tried_again_at_once() -> None:
    clock = Clock()
    chooser = ThreadChooser(clock)
    used_by(chooser, clock, lambda number: 10.0 if number == 1 else 2.5, 2)  # the next trial is far away
    used = used_by(chooser, clock, lambda number: 2.5 if number == 1 else 30.0, 20)
    assert used[-15:] == [1] * 15


def test_trials_cost_little() -> None:
    clock = Clock()
    used = used_by(ThreadChooser(clock), clock, lambda number: 0.001 if number == 1 else 0.1, 50_000)
    lost = 0.099 * used.count(2)
    assert used.count(2) > 1
    assert lost < 0.05 * clock.now


def test_a_long_piece_is_tried_once() -> None:
    clock = Clock()
    used = used_by(ThreadChooser(clock), clock, lambda number: 3.0 if number == 1 else 9.0, 20)
    assert used == [2] + 19 * [1]


def test_a_long_piece_does_not_wait_for_one_of_many_threads() -> None:
    torch.set_num_threads(16)
    clock = Clock()
    used = used_by(ThreadChooser(clock), clock, lambda number: 16.0 / number, 20)
    assert used == [16, 8] + 18 * [16]


def test_each_kind_of_work_has_a_choice_of_its_own() -> None:
    clock = Clock()
    chooser = ThreadChooser(clock)
    for _ in range(1_000):
        large = used_by(chooser, clock, quiet, 1, "large")
        small = used_by(chooser, clock, busy, 1, "small")
    assert (large, small) == ([2], [1])


def test_a_rare_kind_of_work_uses_what_is_known() -> None:
    clock = Clock()
    chooser = ThreadChooser(clock)
    used_by(chooser, clock, busy, 30)
    assert set(used_by(chooser, clock, busy, 50, "rare")) == {1}


@pytest.mark.parametrize(("most", "tried"), [(1, {1}), (2, {1, 2}), (4, {1, 4}), (8, {1, 4, 8})])
def test_which_numbers_are_tried(most: int, tried: set[int]) -> None:
    torch.set_num_threads(most)
    clock = Clock()
    assert set(used_by(ThreadChooser(clock), clock, quiet, 30)) == tried


def test_the_user_can_fix_the_number(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock()
    monkeypatch.setenv(VARIABLE, "fixed")
    assert set(used_by(ThreadChooser(clock), clock, busy, 30)) == {2}
    monkeypatch.setenv(VARIABLE, "3")
    with pytest.raises(SetupError, match=VARIABLE):
        ThreadChooser(clock).begin("pass")


def test_a_number_that_is_set_meanwhile_is_the_largest_from_then_on() -> None:
    clock = Clock()
    chooser = ThreadChooser(clock)
    used_by(chooser, clock, busy, 20)
    chooser.begin("pass")
    torch.set_num_threads(3)  # as a model's code may do
    assert set(used_by(chooser, clock, quiet, 30)) == {1, 3}
    assert torch.get_num_threads() == 3


def test_the_callers_number_is_restored() -> None:
    images = torch.zeros(4, 1, 2, 2)
    with measured_threads() as all_work:
        begin_work(images)
        with measured_threads(1) as inner:
            begin_work(images)
            assert torch.get_num_threads() == 1
        assert torch.get_num_threads() == 2
        seen = set()
        for _ in range(9):
            begin_work(images)
            seen.add(torch.get_num_threads())
        assert seen == {1, 2}
        with own_settings():
            assert torch.get_num_threads() == 2
        with pytest.raises(KeyError), measured_threads(4):
            raise KeyError
    assert torch.get_num_threads() == 2
    assert set(all_work) == {1, 2}
    assert set(inner) == {1}


def test_without_a_block_or_on_another_device_nothing_is_done() -> None:
    for _ in range(2):
        begin_work(torch.zeros(4))
        assert torch.get_num_threads() == 2
    with measured_threads() as used:
        for _ in range(4):
            begin_work(torch.zeros(4, device="meta"))
            assert torch.get_num_threads() == 2
    assert not used


def test_an_attack_uses_both_numbers_and_restores_the_callers() -> None:
    network = CNN().build(Shape(1, 28, 28, 10)).eval()
    images, labels = torch.rand(8, 1, 28, 28), torch.arange(8)
    with measured_threads() as used:
        PGD(steps=10).run(network, images, labels, Linf(eps=0.1), early_stop=False)
    assert set(used) == {1, 2}
    assert torch.get_num_threads() == 2


def test_shares_of_several_records() -> None:
    assert shares([{2: 1.0}, {"1": 1.0}, {}, {"2": 2.0}]) == {1: 0.25, 2: 0.75}
    assert shares([]) == {}
