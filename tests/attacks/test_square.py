"""Square Attack: what its windows are, and what it must find."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from robustlab.attacks import FGSM, Square
from robustlab.attacks.square import repaint
from robustlab.attacks.square_bumps import bump_start, bumps, move_bumps, span
from robustlab.core import seeding
from robustlab.threats import L1, L2, Linf, ThreatModel


class Fixed:
    """As much of a session as the moves look at."""

    def __init__(self, clean: Tensor, threat: ThreatModel) -> None:
        self.clean, self.threat = clean, threat
        self.eps = torch.full((len(clean),), float(threat.eps))
        self.ids = torch.arange(len(clean))

    def project(self, points: Tensor) -> Tensor:
        return self.threat.project(points, self.clean, self.eps)

    def ascend(self, points: Tensor, gradient: Tensor, fraction: float) -> Tensor:
        return self.project(self.threat.ascend(points, gradient, fraction, self.eps))

    def uniform(self, *purpose: object, shape: tuple[int, ...]) -> Tensor:
        return seeding.uniform(seeding.derive(5, *purpose), self.ids, shape)


def session(shape: tuple[int, ...], threat: ThreatModel) -> Any:
    return Fixed(seeding.uniform(3, torch.arange(shape[0]), shape[1:]), threat)


# Windows


@pytest.mark.parametrize(("side", "size"), [(1, 5), (2, 5), (5, 5), (9, 4), (3, 1)])
def test_windows_lie_anywhere_in_the_image(side: int, size: int) -> None:
    draws = torch.cat(
        [seeding.uniform(1, torch.arange(500), (1,)).squeeze(1), torch.tensor([0.0, 1 - 2**-24])]
    )
    spans = span(draws, side, size)
    length = min(side, size)
    assert (spans.sum(dim=1) == length).all()
    assert {tuple(row) for row in spans.int().tolist()} == {
        tuple(int(begin <= place < begin + length) for place in range(size))
        for begin in range(size - length + 1)
    }
    assert spans[-2, 0] == 1
    assert spans[-1, -1] == 1


@pytest.mark.parametrize("shape", [(200, 1, 6, 9), (200, 3, 7, 4)], ids=str)
@pytest.mark.parametrize("side", [1, 3, 8])
def test_each_image_is_repainted_in_a_window_of_its_own(shape: tuple[int, ...], side: int) -> None:
    one = session(shape, Linf(eps=0.2))
    low, high = (one.clean - 0.2).clamp(min=0), (one.clean + 0.2).clamp(max=1)
    points = torch.where(one.uniform("points", shape=shape[1:]) < 0.5, low, high)
    # With one try a window may be as wished already; where it changed anything, the change fills it.
    (moved,) = repaint(one, points, one.uniform("moves", shape=(1, 1, 2 + shape[1])), side)
    assert ((moved == low) | (moved == high)).all()
    changed = (moved != points).any(dim=1)
    rows, columns = changed.any(dim=2), changed.any(dim=1)
    assert (rows.sum(dim=1) <= side).all()
    assert (columns.sum(dim=1) <= side).all()
    # Every row and every column, the first and the last included, is reached in some image.
    assert rows.any(dim=0).all()
    assert columns.any(dim=0).all()
    assert len({tuple(c.flatten().tolist()) for c in changed}) > (10 if side < 8 else 0)


@pytest.mark.parametrize("channels", [1, 2])
def test_a_window_that_changes_nothing_is_drawn_again(channels: int) -> None:
    one = session((300, channels, 5, 5), Linf(eps=0.2))
    low, high = (one.clean - 0.2).clamp(min=0), (one.clean + 0.2).clamp(max=1)
    points = torch.where(one.uniform("points", shape=(channels, 5, 5)) < 0.5, low, high)
    idle = []
    for tries in (1, 6):
        (moved,) = repaint(one, points, one.uniform("moves", shape=(1, tries, 2 + channels)), 1)
        idle.append(float((moved == points).flatten(1).all(dim=1).float().mean()))
    # A single value is as wished already every other time.
    assert idle[0] == pytest.approx(0.5**channels, abs=0.1)
    assert idle[1] < 0.05
    # Points inside the ball are never as wished.
    draws = one.uniform("moves", shape=(1, 2, 2 + channels))
    assert torch.equal(repaint(one, one.clean, draws, 2), repaint(one, one.clean, draws[:, :, :1], 2))


def test_several_windows_are_those_of_several_calls() -> None:
    one = session((40, 2, 6, 9), Linf(eps=0.2))
    points = torch.where(
        one.uniform("points", shape=(2, 6, 9)) < 0.5, one.clean, (one.clean + 0.2).clamp(max=1)
    )
    draws = one.uniform("moves", shape=(4, 6, 4))
    together = repaint(one, points, draws, 3)
    assert together.shape == (4, *points.shape)
    for number, moved in enumerate(together):
        assert torch.equal(moved, repaint(one, points, draws[:, number : number + 1], 3)[0])


# Bumps


@pytest.mark.parametrize("order", [1, 2])
@pytest.mark.parametrize("size", [(3, 3), (5, 5), (4, 4), (3, 7), (1, 3), (6, 2)], ids=str)
def test_bumps_are_of_length_one_and_opposite_signs(size: tuple[int, int], order: int) -> None:
    pair = bumps(*size, order)
    assert pair.shape == (2, *size)
    assert torch.allclose(torch.linalg.vector_norm(pair, ord=order, dim=(1, 2)), torch.ones(2))
    tall, wide = size
    assert (pair[0, : tall // 2] > 0).all()
    assert (pair[0, tall // 2 :] < 0).all()
    assert (pair[1, :, : wide // 2] > 0).all()
    assert (pair[1, :, wide // 2 :] < 0).all()


@pytest.mark.parametrize(("order", "power"), [(2, 2), (1, 4)])
def test_a_bump_falls_as_in_the_paper(order: int, power: int) -> None:
    # Of 4 x 5 the upper half: sums of 1 / k^2 from the distance to the middle, row 1 and column 2, on.
    tail = [sum(1 / k**power for k in range(d + 1, 4)) for d in range(3)]
    expected = torch.tensor([[tail[max(abs(r - 1), abs(c - 2))] for c in range(5)] for r in range(2)])
    found = bumps(4, 5, order)[0, :2]
    assert torch.allclose(found / found[1, 2], expected / expected[1, 2])


@pytest.mark.parametrize("threat", [L2(eps=0.3), L1(eps=0.4)], ids=repr)
@pytest.mark.parametrize("shape", [(20, 1, 28, 28), (20, 3, 8, 12), (20, 2, 4, 3), (20, 1, 1, 9)], ids=str)
def test_moves_use_the_whole_budget_and_no_more(shape: tuple[int, ...], threat: ThreatModel) -> None:
    one = session(shape, threat)
    one.clean = 0.45 + 0.1 * one.clean  # far from the walls nothing is lost
    points = bump_start(one)
    for step in range(5):
        distance = threat.distance(points, one.clean)
        assert torch.allclose(distance, one.eps, rtol=1e-4)
        draws = one.uniform("moves", step, shape=(5 + shape[1],))
        moved = move_bumps(one, points, draws, 3)
        assert not torch.equal(moved, points)
        points = moved
    one.clean = (one.clean > 0.5).float()  # at the walls half of every move is lost
    points = bump_start(one)
    for step in range(5):
        points = move_bumps(one, points, one.uniform("moves", step, shape=(5 + shape[1],)), 3)
        assert (threat.distance(points, one.clean) <= one.eps * (1 + 1e-5)).all()
        assert points.min() >= 0
        assert points.max() <= 1


@pytest.mark.parametrize("channels", [1, 3])
def test_within_l1_a_move_of_several_channels_leaves_the_highest_pixels(channels: int) -> None:
    one = session((5, channels, 9, 9), L1(eps=0.4))
    one.clean = 0.45 + 0.1 * one.clean
    draws = one.uniform("moves", shape=(5 + channels,))
    draws[:, :4] = 0.0  # both windows in the corner
    moved = move_bumps(one, one.clean, draws, 7) - one.clean
    assert torch.allclose(moved.abs().sum(dim=(1, 2, 3)), one.eps, rtol=1e-4)
    share = (moved[..., :7, :7] != 0).float().mean()
    assert share == 1 if channels == 1 else 0.02 < share < 0.7


# What it finds


@pytest.mark.parametrize("shape", [(1, 6, 6), (3, 5, 4), (4, 3, 7)], ids=str)
@pytest.mark.parametrize("classes", [2, 10, 100])
def test_on_a_linear_classifier_it_finds_what_the_closed_form_promises(
    make_linear: Callable[..., nn.Module], shape: tuple[int, int, int], classes: int
) -> None:
    model = make_linear(classes=classes, shape=shape, seed=2)
    images = seeding.uniform(4, torch.arange(40), shape)
    with torch.no_grad():
        labels = model(images).argmax(dim=1)
    threat = Linf(eps=0.08 if classes == 2 else 0.04)
    # One step is the closed form; a tenth of eps is to spare.
    promised = FGSM().run(model, images, labels, Linf(eps=0.9 * threat.eps)).successes
    assert 5 < promised.sum() < 40
    found = Square(queries=1000).run(model, images, labels, threat).successes
    assert not (promised & ~found).any()


@pytest.mark.parametrize("threat", [L2(eps=0.8), L1(eps=3.0)], ids=repr)
def test_in_l2_and_l1_it_finds_much_of_what_a_gradient_finds(
    make_linear: Callable[..., nn.Module], threat: ThreatModel
) -> None:
    model = make_linear(classes=3, shape=(1, 8, 8), seed=1, scale=0.3)
    images = 0.5 + 0.4 * (seeding.uniform(4, torch.arange(60), (1, 8, 8)) - 0.5)
    with torch.no_grad():
        labels = model(images).argmax(dim=1)
    gradient = FGSM().run(model, images, labels, threat).successes
    found = Square(queries=1000).run(model, images, labels, threat).successes
    start = Square(queries=1).run(model, images, labels, threat).successes
    assert start.sum() < found.sum()
    assert found.sum() >= 0.6 * gradient.sum()


def test_towards_a_class(make_linear: Callable[..., nn.Module]) -> None:
    model = make_linear(classes=4, shape=(1, 6, 6))
    images = seeding.uniform(4, torch.arange(40), (1, 6, 6))
    with torch.no_grad():
        labels = model(images).argmax(dim=1)
    targets = (labels + 1) % 4
    result = Square(queries=500).run(model, images, labels, Linf(eps=0.3), targets=targets)
    assert result.successes.sum() > 30
    assert torch.equal(result.predictions[result.successes], targets[result.successes])


def test_more_queries_and_restarts_lose_nothing(make_linear: Callable[..., nn.Module]) -> None:
    model = make_linear(classes=3, shape=(1, 6, 6))
    images = seeding.uniform(6, torch.arange(60), (1, 6, 6))
    with torch.no_grad():
        labels = model(images).argmax(dim=1)
    before = torch.zeros(60, dtype=torch.bool)
    for attack in (
        Square(queries=1),
        Square(queries=20),
        Square(queries=120),
        Square(queries=120, restarts=3),
    ):
        found = attack.run(model, images, labels, Linf(eps=0.05)).successes
        assert not (before & ~found).any()
        before = found


def test_the_schedule_is_that_of_the_paper() -> None:
    one = session((1, 1, 28, 28), Linf(eps=0.1))
    sides = [Square()._side(step, one) for step in (0, 10, 11, 50, 51, 200, 201, 501, 1001, 2001, 4001, 4999)]
    assert sides == [25, 25, 18, 18, 13, 13, 9, 6, 4, 3, 2, 2]
    # Rescaled, the last halving comes at four fifths of the queries.
    short = Square(queries=1000, rescale=True)
    assert [short._side(step, one) for step in (0, 1, 2, 800, 801)] == [25, 25, 18, 2, 1]


def test_nothing_is_left_to_do(make_linear: Callable[..., nn.Module]) -> None:
    model = make_linear(classes=2)
    images = seeding.uniform(6, torch.arange(9), (1, 4, 4))
    with torch.no_grad():
        wrong = 1 - model(images).argmax(dim=1)
    for threat in (Linf(eps=0.3), L2(eps=0.3), L1(eps=0.3)):
        result = Square(queries=50).run(model, images, wrong, threat)
        assert result.successes.all()
        assert (result.forwards == 2).all()
        assert torch.equal(result.images, images)
