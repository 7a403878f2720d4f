"""Affine maps, and the worst of a grid of them."""

import itertools

import pytest
import torch
import torch.nn.functional as F
from small_networks import mlp
from torch import Tensor, nn

from robustlab.attacks import RotationTranslation
from robustlab.attacks.warp import rotations, warp
from robustlab.core import seeding
from robustlab.core.errors import RobustlabError
from robustlab.threats import Linf, Unbounded


def shifted(images: Tensor, across: int, down: int) -> Tensor:
    """Move images by whole pixels, zeros from outside."""
    height, width = images.shape[2:]
    padded = F.pad(images, (3, 3, 3, 3))
    return padded[..., 3 - down : 3 - down + height, 3 - across : 3 - across + width]


@pytest.mark.parametrize("shape", [(1, 6, 6), (3, 4, 7), (2, 9, 5)], ids=str)
def test_whole_pixels_are_moved_exactly(shape: tuple[int, int, int]) -> None:
    images = seeding.uniform(1, torch.arange(5), shape)
    moves = torch.tensor([[0.0, 0.0], [1.0, 0.0], [0.0, -2.0], [3.0, 1.0], [-1.0, -3.0]])
    moved = warp(images, torch.eye(2).expand(5, 2, 2), -moves)
    for image, result, (across, down) in zip(images, moved, moves.int().tolist(), strict=True):
        assert torch.allclose(result[None], shifted(image[None], across, down), atol=1e-5)


def test_right_angles_are_turned_exactly() -> None:
    images = seeding.uniform(1, torch.arange(4), (2, 5, 5))
    turned = warp(images, rotations(torch.arange(4) * torch.pi / 2), torch.zeros(4, 2))
    for k in range(4):
        # x to the right, y down: what is shown at p lay at R p.
        assert torch.allclose(turned[k], torch.rot90(images[k], k, dims=(1, 2)), atol=1e-5)


def test_a_turn_keeps_the_shape_of_things_on_an_oblong_image() -> None:
    # The distance between two dots is the same after a turn by 45 degrees.
    images = torch.zeros(1, 1, 21, 41)
    images[0, 0, 10, [16, 24]] = 1
    turned = warp(images, rotations(torch.tensor([torch.pi / 4])), torch.zeros(1, 2))[0, 0]
    rows, columns = torch.arange(21.0)[:, None], torch.arange(41.0)
    places = []
    for half in (columns > 20, columns < 20):
        dot = turned * half
        places.append(torch.stack([(dot * rows).sum(), (dot * columns).sum()]) / dot.sum())
    assert float((places[0] - places[1]).norm()) == pytest.approx(8.0, abs=0.2)
    assert float((places[0] - places[1]).abs().diff()) == pytest.approx(0.0, abs=0.1)


def test_the_grid() -> None:
    attack = RotationTranslation()
    grid = attack.grid()
    assert len(grid) == len(set(grid)) == 775  # as in the paper
    assert grid[-1] == (0.0, 0.0, 0.0)
    assert {g[0] for g in grid} == set(map(float, range(-30, 31, 2)))
    assert {g[1] for g in grid} == {g[2] for g in grid} == {-3.0, -1.5, 0.0, 1.5, 3.0}
    assert (abs(grid[0][0]), abs(grid[0][1]), abs(grid[0][2])) == (30.0, 3.0, 3.0)
    assert RotationTranslation(angles=1, shift=0).grid() == [(0.0, 0.0, 0.0)]


@pytest.fixture
def model() -> nn.Module:
    return mlp(pixels=75, hidden=20, classes=4, scale=1, seed=4)


def test_it_is_the_worst_of_the_grid(model: nn.Module) -> None:
    images = seeding.uniform(2, torch.arange(30), (3, 5, 5))
    labels = seeding.uniform(3, torch.arange(30), (1,)).mul(4).long().squeeze(1)
    worst = torch.full((30,), -torch.inf)
    for turns, across, down in itertools.product((-1, 0, 1), (-2, 0, 2), (-2, 0, 2)):
        with torch.no_grad():
            logits = model(shifted(torch.rot90(images, turns, dims=(2, 3)), across, down))
        own = logits.gather(1, labels[:, None]).squeeze(1)
        worst = worst.maximum(logits.scatter(1, labels[:, None], -torch.inf).amax(dim=1) - own)
    attack = RotationTranslation(rotation=90, shift=2, angles=3, shifts=3)
    result = attack.run(model, images, labels, Unbounded(), early_stop=False)
    with torch.no_grad():
        logits = model(result.images)
    own = logits.gather(1, labels[:, None]).squeeze(1)
    found = logits.scatter(1, labels[:, None], -torch.inf).amax(dim=1) - own
    assert torch.allclose(found, worst, atol=1e-3)
    assert (result.forwards == 27 + 1).all()
    # A verdict is the same, for fewer passes.
    verdict = attack.run(model, images, labels, Unbounded())
    assert torch.equal(verdict.successes, result.successes)
    assert verdict.forwards.sum() < result.forwards.sum()


def test_it_is_not_made_for_a_ball(model: nn.Module) -> None:
    images = seeding.uniform(2, torch.arange(8), (3, 5, 5))
    with pytest.raises(RobustlabError, match="supports unbounded"):
        RotationTranslation().run(model, images, torch.zeros(8, dtype=torch.int64), Linf(eps=0.05))
