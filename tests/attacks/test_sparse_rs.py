"""Sparse-RS: which images it asks about, and what it must find."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from small_networks import Recorded, mlp
from torch import Tensor, nn

from robustlab.attacks import RandomPoints, SparseRS
from robustlab.core import seeding
from robustlab.threats import L0

SHAPES = [(1, 4, 4), (3, 2, 3)]


class Constant(nn.Module):
    """Answers alike everywhere, so that no move is better than the start."""

    def forward(self, x: Tensor) -> Tensor:
        return torch.tensor([1.0, 0.0]).expand(len(x), 2)


def some_images(n: int, shape: tuple[int, ...], seed: int = 4) -> Tensor:
    return seeding.uniform(seed, torch.arange(n), shape)


def predicted(model: nn.Module, images: Tensor) -> Tensor:
    with torch.no_grad():
        classes: Tensor = model(images).argmax(dim=1)
    return classes


def breakable(model: Any, images: Tensor, eps: int) -> Tensor:
    """Return (n,) whether eps other values can change the class of a linear classifier."""
    weights, x = model[1].weight.detach().double(), images.double().flatten(1)
    with torch.no_grad():
        logits = model(images).double()
    labels = logits.argmax(dim=1)
    found = torch.zeros(len(images), dtype=torch.bool)
    for rival in range(weights.shape[0]):
        slope = weights[rival] - weights[labels]
        gains = torch.maximum(slope * (1 - x), -slope * x).sort(dim=1, descending=True).values
        reached = logits[:, rival] - logits.gather(1, labels[:, None])[:, 0] + gains[:, :eps].sum(dim=1)
        assert reached[labels != rival].abs().min() > 1e-4
        found |= (reached > 0) & (labels != rival)
    return found


# What it asks about


@pytest.mark.parametrize("black_and_white", [False, True])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("eps", [1, 3, 9, 15, 16, 18, 1000])
def test_as_many_values_as_allowed_are_at_0_or_1(
    eps: int, shape: tuple[int, ...], black_and_white: bool
) -> None:
    images = some_images(12, shape)
    images = images.round() if black_and_white else images
    model = Recorded(Constant()).eval()
    labels = torch.zeros(12, dtype=torch.int64)
    SparseRS(queries=40, alpha=1.0).run(model, images, labels, L0(eps=eps), early_stop=False)
    asked = torch.stack(model.points[:40])
    changed = (asked != images).flatten(2)
    assert ((asked == 0) | (asked == 1) | (asked == images)).all()
    size = images[0].numel()
    counts, most = changed.sum(dim=2), min(eps, size)
    assert (counts[0] == most).all()
    if 2 * eps <= size or not black_and_white:
        assert (counts == most).all()
    assert (counts <= most).all()
    # No query is wasted on an image that was asked about: nothing was better than the start.
    assert (asked[1:] != asked[0]).flatten(2).any(dim=2).all()


def test_every_value_is_changed_now_and_then() -> None:
    model = Recorded(Constant()).eval()
    images = torch.full((50, 2, 3, 3), 0.3)
    SparseRS(queries=30).run(model, images, torch.zeros(50, dtype=torch.int64), L0(eps=2), early_stop=False)
    asked = torch.stack(model.points[:30])
    assert ((asked != 0.3).flatten(2).float().mean(dim=(0, 1)) - 2 / 18).abs().max() < 0.04
    # Large changes are likelier.
    assert (asked == 1).sum() / (asked != 0.3).sum() == pytest.approx(0.7, abs=0.05)


def test_the_schedule_is_that_of_the_paper() -> None:
    places = [1, 50, 51, 200, 201, 501, 1001, 2001, 4001, 6001, 8001, 30_000]
    divisors = [2, 2, 4, 4, 5, 6, 8, 10, 12, 15, 20, 20]
    assert [0.3 / SparseRS(queries=40_000)._share(at) for at in places] == pytest.approx(divisors)
    # With fewer queries it is as short as they are.
    short = SparseRS(queries=1000)
    assert [0.3 / short._share(at) for at in (1, 5, 6, 800, 801, 999)] == pytest.approx([2, 2, 4, 15, 20, 20])


def test_the_first_iterations_move_many_changes_and_the_last_ones_few() -> None:
    model = Recorded(Constant()).eval()
    images, labels = some_images(5, (1, 20, 20)), torch.zeros(5, dtype=torch.int64)
    SparseRS(queries=1000, alpha=0.8).run(model, images, labels, L0(eps=100), early_stop=False)
    asked = torch.stack(model.points[:1000]).flatten(2)
    moved = (asked[1:] != asked[0]).sum(dim=2)
    # A change moves: one value becomes clean, and another one changes.
    assert set(moved[:5].flatten().tolist()) == {80}
    assert set(moved[-1].tolist()) == {8}


def test_where_nothing_may_change_the_search_ends() -> None:
    images, labels = some_images(3, (1, 3, 3)), torch.zeros(3, dtype=torch.int64)
    for early_stop, spent in ((True, 3), (False, 2)):
        result = SparseRS(queries=50).run(
            Constant().eval(),
            images,
            labels,
            L0(eps=2),
            eps=torch.tensor([0.0, 0.9, 1.9]),
            early_stop=early_stop,
        )
        assert result.forwards.tolist() == [spent, spent, spent + 49]
        assert result.distances.tolist()[:2] == [0, 0]
        assert result.distances[2] <= 1


# What does not matter


@pytest.mark.parametrize("early_stop", [True, False])
def test_the_other_images_of_the_batch_do_not_matter(early_stop: bool) -> None:
    model, images = mlp(classes=4, seed=2), some_images(30, (1, 4, 4))
    labels, ids = predicted(model, images), torch.arange(30) + 7
    eps = torch.tensor([1.0, 4.0, 16.0, 2.0, 30.0, 0.0]).repeat(5)
    attack = SparseRS(queries=120, alpha=1.0)
    together = attack.run(model, images, labels, L0(eps=3), eps=eps, ids=ids, early_stop=early_stop)
    for number in range(0, 30, 3):
        one = slice(number, number + 1)
        alone = attack.run(
            model, images[one], labels[one], L0(eps=3), eps=eps[one], ids=ids[one], early_stop=early_stop
        )
        assert torch.equal(alone.images, together.images[one])
        assert torch.equal(alone.forwards, together.forwards[one])
    assert (together.distances <= eps).all()
    assert 3 < together.successes.sum() < 30


def test_the_seed_alone_decides() -> None:
    model, images = mlp(classes=4, seed=2), some_images(30, (1, 4, 4))
    labels = predicted(model, images)
    one, again, other = (
        SparseRS(queries=60).run(model, images, labels, L0(eps=2), seed=seed).images for seed in (1, 1, 2)
    )
    assert torch.equal(one, again)
    assert not torch.equal(one, other)


# What it finds


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("eps", [1, 2, 5, 12, 30])
@pytest.mark.parametrize("classes", [2, 5])
def test_on_a_linear_classifier_it_breaks_what_can_be_broken(
    make_linear: Callable[..., nn.Module], shape: tuple[int, int, int], eps: int, classes: int
) -> None:
    model = make_linear(classes=classes, shape=shape, seed=3)
    images = 0.5 + (0.9 if eps < 5 else 0.2) * (some_images(40, shape) - 0.5)
    found = SparseRS(queries=1500).run(model, images, predicted(model, images), L0(eps=eps)).successes
    assert torch.equal(found, breakable(model, images, eps))


def test_a_larger_eps_and_more_queries_lose_nothing() -> None:
    model, images = mlp(classes=4, seed=2), some_images(60, (1, 4, 4))
    labels = predicted(model, images)
    for attempts in (
        [(SparseRS(queries=600), eps) for eps in (0, 1, 2, 4, 16)],
        [(SparseRS(queries=queries), 2) for queries in (1, 20, 120, 600)],
    ):
        before, counts = torch.zeros(60, dtype=torch.bool), []
        for attack, eps in attempts:
            found = attack.run(model, images, labels, L0(eps=eps)).successes
            assert not (before & ~found).any()
            before = found
            counts.append(int(found.sum()))
        assert counts[0] < counts[1] < counts[-1]


class Few(nn.Module):
    """Errs where nine of the first twenty values are white."""

    def forward(self, x: Tensor) -> Tensor:
        white = x.flatten(1)[:, :20].sum(dim=1)
        return torch.stack([8.5 - white, white - 8.5], dim=1)


def test_it_finds_what_chance_does_not() -> None:
    images, labels = torch.zeros(10, 1, 20, 20), torch.zeros(10, dtype=torch.int64)
    chance, found = (
        attack.run(Few().eval(), images, labels, L0(eps=10)).successes.sum().item()
        for attack in (RandomPoints(count=1000, draw="corners"), SparseRS(queries=1000))
    )
    assert (chance, found) == (0, 10)


def test_towards_a_class(make_linear: Callable[..., nn.Module]) -> None:
    model, images = make_linear(classes=4, shape=(1, 6, 6)), some_images(40, (1, 6, 6))
    targets = (predicted(model, images) + 1) % 4
    result = SparseRS(queries=500).run(model, images, predicted(model, images), L0(eps=12), targets=targets)
    assert result.successes.sum() > 25
    assert torch.equal(result.predictions[result.successes], targets[result.successes])
