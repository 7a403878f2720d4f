"""HopSkipJump: near the closed form on linear classifiers, by classes alone."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from robustlab.attacks import DDN, FMN, HopSkipJump
from robustlab.core import seeding
from robustlab.threats import L2, Linf

SHAPE = (1, 5, 6)
N = 24


@pytest.mark.parametrize("norm", [L2, Linf])
def test_on_a_linear_classifier_it_comes_near_the_nearest_point(
    norm: type[L2] | type[Linf], make_linear: Callable[..., nn.Module]
) -> None:
    model: Any = make_linear(classes=2, shape=SHAPE, seed=3)
    images = 0.5 + 0.3 * (seeding.uniform(8, torch.arange(N), SHAPE) - 0.5)
    weight = (model[1].weight[1] - model[1].weight[0]).detach()
    with torch.no_grad():
        logits = model(images)
    nearest = (logits[:, 1] - logits[:, 0]).abs() / (weight.norm() if norm is L2 else weight.abs().sum())
    threat = norm(eps=3.0 if norm is L2 else 1.0)
    attack = HopSkipJump(steps=25, samples=60)
    result = attack.run(model, images, logits.argmax(dim=1), threat, early_stop=False)
    assert result.successes.all()
    ratio = result.distances / nearest
    assert ratio.min() >= 1 - 1e-3
    assert ratio.median() < 1.1
    assert ratio.max() < 1.3


def test_more_steps_come_nearer(make_linear: Callable[..., nn.Module]) -> None:
    model = make_linear(classes=10, shape=SHAPE, seed=3)
    images = seeding.uniform(8, torch.arange(N), SHAPE)
    with torch.no_grad():
        labels = model(images).argmax(dim=1)
    distances = [
        HopSkipJump(steps=steps).run(model, images, labels, L2(eps=6.0), early_stop=False).distances
        for steps in (1, 4, 12)
    ]
    assert (distances[1] <= distances[0]).all()
    assert (distances[2] <= distances[1]).all()
    assert distances[2].mean() < 0.9 * distances[0].mean()


def test_only_classes_are_looked_at(make_linear: Callable[..., nn.Module]) -> None:
    model = make_linear(classes=5, shape=SHAPE)

    class Decisions(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return nn.functional.one_hot(model(x).argmax(dim=1), 5).float()

    images = seeding.uniform(8, torch.arange(N), SHAPE)
    with torch.no_grad():
        labels = model(images).argmax(dim=1)
    one, other = (
        HopSkipJump(steps=3, samples=20).run(m, images, labels, L2(eps=5.0), early_stop=False)
        for m in (model, Decisions().eval())
    )
    assert torch.equal(one.images, other.images)
    assert not one.backwards.any()


@pytest.mark.parametrize("early_stop", [True, False])
def test_where_no_random_image_is_misclassified_it_gives_up(early_stop: bool) -> None:
    class Always(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return torch.tensor([1.0, 0.0]).expand(len(x), 2) + 0 * x.sum()

    images = seeding.uniform(8, torch.arange(6), SHAPE)
    labels = torch.tensor([0, 0, 1, 0, 1, 0])
    result = HopSkipJump().run(Always().eval(), images, labels, L2(eps=5.0), early_stop=early_stop)
    assert torch.equal(result.successes, labels == 1)
    assert torch.equal(result.images, images)
    assert result.forwards.max() < 60


@pytest.mark.parametrize("norm", [L2, Linf])
def test_towards_a_class_it_comes_near_the_nearest_point_of_that_class(
    norm: type[L2] | type[Linf], make_linear: Callable[..., nn.Module]
) -> None:
    model: Any = make_linear(classes=3, shape=SHAPE, seed=3)
    images = 0.5 + 0.3 * (seeding.uniform(8, torch.arange(N), SHAPE) - 0.5)
    with torch.no_grad():
        order = model(images).argsort(dim=1, descending=True)
    labels, targets = order[:, 0], order[:, 2]
    threat = norm(eps=3.0 if norm is L2 else 1.0)
    attack = HopSkipJump(steps=20, samples=60)
    towards = attack.run(model, images, labels, threat, targets=targets, early_stop=False)
    away = attack.run(model, images, labels, threat, early_stop=False)
    found = towards.successes
    assert found.sum() > N / 2
    assert torch.equal(towards.predictions[found], targets[found])
    # No point of the target class is nearer than the nearest that is not of the label.
    assert (towards.distances[found] >= 0.75 * away.distances[found]).all()
    seeing = DDN(steps=200) if norm is L2 else FMN(steps=200)
    nearest = seeing.run(model, images, labels, threat, targets=targets, early_stop=False).distances
    assert (towards.distances / nearest)[found].median() < 1.2
