"""Distances to the boundaries of prototypes: against closed forms, a quadratic program, and random points."""

from typing import Any

import numpy as np
import pytest
import torch
from scipy.optimize import minimize
from torch import Tensor, nn

from robustlab.certify import IBP, NearestPrototype, as_certifier
from robustlab.core import seeding
from robustlab.models import PrototypeClassifier, Shape
from robustlab.threats import L2, Linf

SHAPE = Shape(1, 2, 2, 3)


def network(seed: int = 1, per_class: int = 3, shape: Shape = SHAPE) -> PrototypeClassifier:
    with seeding.isolated(seed):
        return PrototypeClassifier(shape, per_class).eval()


def images_of(model: nn.Module, n: int = 30, shape: Shape = SHAPE) -> tuple[Tensor, Tensor]:
    images = seeding.uniform(7, torch.arange(n), shape.image)
    with torch.no_grad():
        return images, model(images).argmax(dim=1)


def certified_radius(model: nn.Module, image: Tensor, label: Tensor) -> float:
    """The largest eps at which the image is certified, by bisection."""
    low, high = 0.0, 2.0
    for _ in range(18):
        middle = (low + high) / 2
        holds = NearestPrototype(steps=60).certify(model, image[None], label[None], L2(eps=middle))
        low, high = (middle, high) if holds else (low, middle)
    return low


def true_radius(model: PrototypeClassifier, image: Tensor, label: int) -> float:
    """The distance to the nearest image of another class, a quadratic program for each rival prototype."""
    points, x = model.points.detach().double().numpy(), image.double().flatten().numpy()
    found = []
    for rival in np.delete(points, label, axis=0).reshape(-1, x.size):
        # Nearer to the rival than to each own prototype.
        rules = [
            {
                "type": "ineq",
                "fun": lambda z, own=own, rival=rival: (rival - own) @ z - (rival @ rival - own @ own) / 2,
            }
            for own in points[label]
        ]
        best = minimize(
            lambda z: ((z - x) ** 2).sum(), rival, constraints=rules, bounds=[(0, 1)] * x.size, tol=1e-12
        )
        if best.success:
            found.append(float(np.sqrt(best.fun)))
    return min(found)


def test_the_logits_are_those_of_the_nearest_prototype() -> None:
    model = network()
    images, labels = images_of(model)
    distances = (images.flatten(1)[:, None, None] - model.points).norm(dim=3)
    assert torch.equal(distances.amin(dim=2).argmin(dim=1), labels)
    expected = (images.flatten(1).square().sum(dim=1)[:, None] - distances.amin(dim=2).square()) / 2
    torch.testing.assert_close(model(images), expected)


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_with_one_prototype_a_class_the_radius_is_the_distance_to_the_nearest_plane(seed: int) -> None:
    model = network(seed, per_class=1)
    images, labels = images_of(model, 5)
    points = model.points.detach()[:, 0]
    for image, label in zip(images, labels, strict=True):
        x, own = image.flatten(), points[label]
        planes = [
            ((own - other) @ x - (own @ own - other @ other) / 2) / (own - other).norm()
            for number, other in enumerate(points)
            if number != label
        ]
        assert certified_radius(model, image, label) == pytest.approx(float(min(planes)), abs=1e-4)


@pytest.mark.parametrize("seed", [1, 2, 3, 4])
def test_no_radius_exceeds_the_true_one(seed: int) -> None:
    model = network(seed)
    images, labels = images_of(model, 6)
    shares = []
    for image, label in zip(images, labels, strict=True):
        found, true = certified_radius(model, image, label), true_radius(model, image, int(label))
        assert found <= true + 1e-4
        shares.append(found / true)
    assert min(shares) > 0.99


def test_no_random_point_at_the_certified_distance_has_another_class() -> None:
    shape = Shape(1, 4, 4, 4)
    model = network(5, per_class=6, shape=shape)
    images, labels = images_of(model, 8, shape)
    for number, (image, label) in enumerate(zip(images, labels, strict=True)):
        radius = certified_radius(model, image, label)
        directions = seeding.normal(number, torch.arange(10_000), shape.image)
        # The straight ways to the other prototypes are the best ones.
        ways = model.points.detach().view(-1, *shape.image) - image
        moves = torch.cat([directions, ways])
        points = image + radius * moves / moves.flatten(1).norm(dim=1)[:, None, None, None]
        with torch.no_grad():
            assert (model(points).argmax(dim=1) == label).all()


def test_large_values_cost_certificates() -> None:
    """Where float32 can't tell two classes apart, nothing is proven."""
    model = network(per_class=1)
    images, labels = images_of(model)
    assert NearestPrototype().certify(model, images, labels, L2(eps=1e-3)).any()
    with torch.no_grad():
        model.points.mul_(1e-3).add_(3e3)  # two prototypes differ by less than the rounding of a score
    labels = model(images).argmax(dim=1)
    assert not NearestPrototype().certify(model, images, labels, L2(eps=1e-6)).any()


def test_the_default_uses_it_and_others_name_the_layer() -> None:
    model = network()
    images, labels = images_of(model)
    auto = as_certifier("auto").certify(model, images, labels, L2(eps=0.1))
    assert torch.equal(auto, NearestPrototype().certify(model, images, labels, L2(eps=0.1)))
    assert 0 < auto.float().mean() < 1
    assert not as_certifier("auto").certify(model, images, labels, Linf(eps=0.9)).any()
    plain = nn.Sequential(nn.Flatten(), nn.Linear(4, 3)).eval()
    reason: Any = NearestPrototype().explain(plain, images)
    assert "the architecture prototypes alone" in reason
    assert IBP().explain(model, images) is None or "PrototypeClassifier" in str(IBP().explain(model, images))


def test_images_with_the_wrong_class_are_not_certified() -> None:
    model = network()
    images, labels = images_of(model)
    wrong = (labels + 1) % 3
    assert not NearestPrototype().certify(model, images, wrong, L2(eps=1e-6)).any()
