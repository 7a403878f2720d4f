"""APGD within L1: how sparse its steps are, how that changes, and the balls it searches."""

import itertools
import math
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from small_networks import Recorded
from torch import Tensor

from conftest import linear_classifier
from robustlab.attacks import APGDL1
from robustlab.attacks.apgd_l1 import _reconsider, _State
from robustlab.threats import L1

SHAPE, PIXELS, EPS = (1, 10, 12), 120, 0.09
"""Images of grey pixels, which no step brings to a wall."""


def way(attack: APGDL1) -> tuple[list[Tensor], Tensor, Tensor]:
    """Return the points of the search, the clean image and the direction in which the loss rises."""
    model = linear_classifier(classes=2, shape=SHAPE)
    layer: Any = model.get_submodule("1")
    clean = torch.full((1, *SHAPE), 0.5)
    with torch.no_grad():
        label = model(clean).argmax(dim=1)
    recorded = Recorded(model).eval()
    attack.run(recorded, clean, label, L1(eps=EPS), early_stop=False)
    rise = layer.weight[1 - label] - layer.weight[label]
    return recorded.points[:-1], clean, rise.detach().view_as(clean)


def step(point: Tensor, clean: Tensor, rise: Tensor, count: int, radius: float) -> Tensor:
    least = rise.abs().flatten().sort(descending=True).values[count - 1]
    move = radius / count * rise.sign() * (rise.abs() >= least)
    return L1(eps=radius).project(point + move, clean)


def test_within_eps_the_first_steps_move_a_fifth_of_the_pixels() -> None:
    points, clean, rise = way(APGDL1(large_radii=False))
    for before, after in itertools.pairwise(points[:5]):  # up to the first check
        assert torch.allclose(after, step(before, clean, rise, PIXELS // 5, EPS), atol=1e-6)


def test_in_a_large_ball_the_first_step_is_sparser_than_its_start() -> None:
    points, clean, rise = way(APGDL1())
    moved = int((points[0] != clean).sum())
    assert 1 < moved < PIXELS
    expected = step(points[0], clean, rise, math.ceil(moved / 1.5), 3 * EPS)
    assert torch.allclose(points[1], expected, atol=1e-6)


@pytest.mark.parametrize("large", [False, True])
def test_the_balls(large: bool) -> None:
    points, clean, _ = way(APGDL1(large_radii=large))
    # One point more than steps in each ball.
    balls = [(3, 31), (2, 31), (1, 41)] if large else [(1, 101)]
    assert len(points) == sum(number for _, number in balls)
    for multiple, number in balls:
        distances = torch.cat([L1(eps=1.0).distance(point, clean) for point in points[:number]])
        assert distances.max().item() == pytest.approx(multiple * EPS, rel=1e-4)
        del points[:number]


def test_the_rule_at_a_check() -> None:
    """The best point moved 9, 10, 10, 10 and 12 values; before it was 10."""
    clean = torch.full((5, 1, 3, 5), 0.5)
    moved = torch.tensor([9, 10, 10, 10, 12])
    best = clean + 0.1 * (torch.arange(15) < moved[:, None]).view_as(clean)
    state = _State(
        points=clean,
        gradient=clean,
        best=best,
        best_gradient=best,
        best_loss=torch.zeros(5),
        count=torch.full((5,), 7.0),
        step=torch.tensor([0.3, 1.0, 0.9, 0.12, 0.3]),
        moved=torch.full((5,), 10.0),
        toward=None,
    )
    session: Any = SimpleNamespace(clean=clean)
    _reconsider(session, state)
    # Only the first grew sparser by more than a twentieth: a full step, from the best point.
    assert torch.allclose(state.step, torch.tensor([1.0, 1 / 1.5, 0.6, 0.1, 0.2]))
    assert torch.equal(state.points, torch.cat([best[:1], clean[1:]]))
    assert torch.equal(state.gradient, torch.cat([best[:1], clean[1:]]))
    assert state.count.tolist() == [6, 7, 7, 7, 8]
    assert torch.equal(state.moved, moved.float())
