"""APGD: when it reconsiders the length of its steps, and what it does then."""

import pytest
import torch
from torch import Tensor, nn

from robustlab.attacks import APGD
from robustlab.attacks.apgd import _reconsider, _State, checkpoints
from robustlab.threats import Linf


@pytest.mark.parametrize(
    ("steps", "expected"),
    [
        (1, [1]),
        (5, [1, 2, 3, 4, 5]),
        (10, [2, 3, 4, 5, 6, 7, 8, 9, 10]),
        (50, [11, 21, 30, 38, 45]),
        (100, [22, 41, 57, 70, 80, 87, 93, 99]),
        (200, [44, 82, 114, 140, 160, 174, 186, 198]),
        (1000, [220, 410, 570, 700, 800, 870, 930, 990]),
    ],
)
def test_checkpoints_are_those_of_the_original(steps: int, expected: list[int]) -> None:
    assert checkpoints(steps) == expected


PEAK, EPS = 0.6123, 0.25


class Tent(nn.Module):
    """Is surest of class 1 at one grey level; keeps what it is asked about."""

    def __init__(self) -> None:
        super().__init__()
        self.points: list[float] = []

    def forward(self, x: Tensor) -> Tensor:
        level = x.flatten(1)[:, 0]
        self.points += level.tolist()
        rise = -5 - 10 * (level - PEAK).abs()
        return torch.stack([torch.zeros_like(rise), rise], dim=1)


def within(level: float) -> float:
    return min(max(level, 0.5 - EPS), 0.5 + EPS)


def next_point(point: float, before: float, fraction: float) -> float:
    moved = within(point + fraction * EPS * (1 if point < PEAK else -1))
    return within(point + 0.75 * (moved - point) + 0.25 * (point - before))


def test_on_an_oscillating_loss_the_step_halves_at_each_checkpoint_back_at_the_best_point() -> None:
    network = Tent().eval()
    images = torch.full((1, 1, 1, 1), 0.5)
    APGD().run(network, images, torch.zeros(1, dtype=torch.int64), Linf(eps=EPS), early_stop=False)
    points, fraction, jumps = network.points[:101], 2.0, 0
    before = points[0]
    assert points[1] == pytest.approx(within(before + 2 * EPS * (1 if before < PEAK else -1)))
    for step in range(1, 100):
        point = points[step]
        if step in checkpoints(100):
            fraction /= 2
            point = min(points[: step + 1], key=lambda level: abs(level - PEAK))
            jumps += point != points[step]
        assert points[step + 1] == pytest.approx(next_point(point, before, fraction), abs=1e-5)
        before = point
    assert jumps >= 6
    assert min(abs(level - PEAK) for level in points) < 2 * EPS / 2**7


def test_who_goes_back() -> None:
    """Too few steps helped; enough did; they did, but to no better point; so, but halved last time."""
    at_best, elsewhere = torch.full((4, 1, 1, 1), 0.9), torch.full((4, 1, 1, 1), 0.1)
    best_loss = torch.tensor([2.0, 2.0, 1.0, 1.0])
    state = _State(
        points=elsewhere,
        gradient=elsewhere,
        losses=torch.zeros(4),
        before=elsewhere,
        best=at_best,
        best_gradient=at_best,
        best_loss=best_loss,
        best_at_check=torch.ones(4),
        fraction=torch.full((4,), 2.0),
        increases=torch.tensor([3.0, 4.0, 4.0, 4.0]),
        halved=torch.tensor([False, False, False, True]),
        toward=None,
    )
    _reconsider(state, 0.75 * 4)
    back = torch.tensor([True, False, True, False])
    assert torch.equal(state.fraction, torch.where(back, 1.0, 2.0))
    expected = torch.where(back[:, None, None, None], at_best, elsewhere)
    assert torch.equal(state.points, expected)
    assert torch.equal(state.gradient, expected)
    assert torch.equal(state.before, elsewhere)
    assert torch.equal(state.halved, back)
    assert torch.equal(state.best_at_check, best_loss)
    assert not state.increases.any()
