"""RayS: the nearest point of linear classifiers, by classes alone, within the budget."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from robustlab.attacks import HopSkipJump, RayS, Restarts
from robustlab.core import seeding
from robustlab.threats import Linf, Masked

SHAPE = (1, 5, 6)
N = 24
EXACT = 1.01
"""The radius is searched to a three-hundredth of itself."""


@pytest.fixture
def images() -> Tensor:
    return 0.5 + 0.3 * (seeding.uniform(8, torch.arange(N), SHAPE) - 0.5)


def nearest(model: Any, images: Tensor, free: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """Return the labels, and the distances to the boundary of a linear classifier of two classes."""
    weight = (model[1].weight[1] - model[1].weight[0]).detach()
    with torch.no_grad():
        logits = model(images)
    size = weight.abs() if free is None else weight.abs()[free]
    return logits.argmax(dim=1), (logits[:, 1] - logits[:, 0]).abs() / size.sum()


def test_on_a_linear_classifier_it_finds_the_nearest_point(
    images: Tensor, make_linear: Callable[..., nn.Module]
) -> None:
    model = make_linear(classes=2, shape=SHAPE, seed=3)
    labels, distances = nearest(model, images)
    result = RayS(queries=800).run(model, images, labels, Linf(eps=1.0), early_stop=False)
    assert result.successes.all()
    ratio = result.distances / distances
    assert ratio.min() >= 1 - 1e-3
    assert ratio.max() < EXACT


def test_it_stops_within_eps_and_needs_few_queries(
    images: Tensor, make_linear: Callable[..., nn.Module]
) -> None:
    model = make_linear(classes=2, shape=SHAPE, seed=3)
    labels, distances = nearest(model, images)
    eps = 1.001 * float(distances.median())
    result = RayS(queries=800).run(model, images, labels, Linf(eps=eps))
    # Of one image the boundary is at 0.999 eps, and it is found: radii below eps are not asked about.
    assert torch.equal(result.successes, distances <= eps)
    broken = result.forwards[result.successes]
    assert broken.max() < 500
    assert result.distances.max() <= eps + 1e-6


def test_it_breaks_more_than_hop_skip_jump_with_as_many_queries(
    make_linear: Callable[..., nn.Module],
) -> None:
    shape = (1, 16, 16)
    images = 0.5 + 0.3 * (seeding.uniform(8, torch.arange(6), shape) - 0.5)
    model = make_linear(classes=2, shape=shape, seed=3)
    labels, distances = nearest(model, images)
    other = HopSkipJump(steps=10).run(model, images, labels, Linf(eps=1.0), early_stop=False)
    queries = int(other.forwards.min()) - 2
    found = RayS(queries=queries).run(model, images, labels, Linf(eps=1.0), early_stop=False)
    assert (found.distances / distances).median() < 1.02
    assert (other.distances / distances).median() > 1.2


def test_only_classes_are_looked_at(images: Tensor, make_linear: Callable[..., nn.Module]) -> None:
    model = make_linear(classes=5, shape=SHAPE)

    class Decisions(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return nn.functional.one_hot(model(x).argmax(dim=1), 5).float()

    with torch.no_grad():
        labels = model(images).argmax(dim=1)
    one, other = (
        RayS(queries=100).run(m, images, labels, Linf(eps=0.3), early_stop=False)
        for m in (model, Decisions().eval())
    )
    assert torch.equal(one.images, other.images)
    assert not one.backwards.any()


class Seen(nn.Module):
    """A class that depends on one value; notes what it was asked about."""

    def __init__(self) -> None:
        super().__init__()
        self.training, self.asked = False, list[Tensor]()

    def forward(self, x: Tensor) -> Tensor:
        self.asked.append(x.clone())
        value = x.flatten(1)[:, 0]
        return torch.stack([0.8 - value, value - 0.8], dim=1)


def test_a_further_restart_begins_elsewhere() -> None:
    model = Seen()
    images = torch.full((1, 1, 1, 40), 0.5)
    RayS(queries=4).run(model, images, torch.zeros(1, dtype=torch.int64), Linf(eps=0.2))
    first = len(model.asked)
    attack = Restarts(attack=RayS(queries=4), times=2)
    attack.run(model, images, torch.zeros(1, dtype=torch.int64), Linf(eps=0.2))
    asked = torch.cat(model.asked[first:]).flatten(1)
    assert sorted((asked == 1).sum(dim=1).tolist())[-1] == 40
    assert ((asked == 1).sum(dim=1).float() / 40 - 0.5).abs().min() < 0.3


@pytest.mark.parametrize(("size", "free"), [(1, None), (3, None), (9, [0]), (200, [0, 7])])
def test_few_values_cost_few_queries(size: int, free: list[int] | None) -> None:
    images = torch.full((2, 1, 1, size), 0.5)
    threat: Any = Linf(eps=0.2)
    if free is not None:
        threat = Masked(threat=threat, fixed=tuple(k for k in range(size) if k not in free))
    model = Seen()
    result = RayS().run(model, images, torch.zeros(2, dtype=torch.int64), threat, early_stop=False)
    assert (torch.cat(model.asked).flatten(1)[:, 0] - 0.8).abs().min() < 0.3 * (EXACT - 1)
    assert result.forwards.max() < 60 * (len(free) if free is not None else size)


def test_where_no_corner_is_misclassified_it_spends_its_queries_and_finds_nothing(images: Tensor) -> None:
    class Always(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return torch.tensor([1.0, 0.0]).expand(len(x), 2)

    labels = torch.arange(N) % 2
    result = RayS(queries=90).run(Always().eval(), images, labels, Linf(eps=0.3))
    assert torch.equal(result.successes, labels == 1)
    assert torch.equal(result.images, images)
    assert result.forwards[labels == 0].max() <= 90 + 2
    assert result.forwards[labels == 1].max() <= 2


def test_it_moves_towards_a_class(images: Tensor, make_linear: Callable[..., nn.Module]) -> None:
    model = make_linear(classes=3, shape=SHAPE, seed=3)
    with torch.no_grad():
        order = model(images).argsort(dim=1, descending=True)
    labels, targets = order[:, 0], order[:, 2]
    found = RayS(queries=1500).run(model, images, labels, Linf(eps=1.0), targets=targets, early_stop=False)
    assert found.successes.float().mean() > 0.8
    assert torch.equal(found.predictions[found.successes], targets[found.successes])
