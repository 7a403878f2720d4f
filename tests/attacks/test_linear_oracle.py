"""Attacks on linear classifiers, whose nearest adversarial image is known in closed form."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from robustlab.attacks import FGSM, PGD, AttackResult
from robustlab.core import seeding
from robustlab.threats import L2, Linf, ThreatModel

SHAPE = (1, 5, 6)
N = 24


@pytest.fixture
def model(make_linear: Callable[..., nn.Module]) -> nn.Module:
    return make_linear(classes=2, shape=SHAPE, seed=3)


def slope(model: nn.Module) -> Tensor:
    """The gradient of the margin of class 1 over class 0."""
    layer: Any = model.get_submodule("1")
    weight: Tensor = layer.weight.detach().double()
    difference: Tensor = weight[1] - weight[0]
    return difference


def margin(model: nn.Module, images: Tensor) -> Tensor:
    with torch.no_grad():
        logits: Tensor = model(images).double()
    return logits[:, 1] - logits[:, 0]


def grey_images(spread: float) -> Tensor:
    """Images around mid-grey, so that small steps do not meet the walls of the box."""
    return 0.5 + spread * (seeding.uniform(8, torch.arange(N), SHAPE) - 0.5)


def attack_each(
    attack: FGSM | PGD, model: nn.Module, images: Tensor, labels: Tensor, threats: list[ThreatModel]
) -> AttackResult:
    results = [
        attack.run(model, images[i : i + 1], labels[i : i + 1], threat, ids=torch.tensor([i]))
        for i, threat in enumerate(threats)
    ]
    return AttackResult(
        **{n: torch.cat([getattr(r, n) for r in results]) for n in AttackResult.__annotations__}
    )


@pytest.mark.parametrize("attack", [FGSM(), PGD(steps=20, rel_step_size=0.25)], ids=["fgsm", "pgd"])
@pytest.mark.parametrize("norm", [Linf, L2])
def test_the_nearest_adversarial_image_is_found_and_no_nearer_one(
    attack: FGSM | PGD, norm: type[Linf] | type[L2], model: nn.Module
) -> None:
    images = grey_images(0.2)
    f, w = margin(model, images), slope(model)
    labels = (f > 0).long()
    nearest = f.abs() / (w.abs().sum() if norm is Linf else w.norm())
    assert nearest.min() > 1e-4
    assert nearest.max() < 0.35
    above = attack_each(attack, model, images, labels, [norm(eps=1.01 * float(d)) for d in nearest])
    below = attack_each(attack, model, images, labels, [norm(eps=0.99 * float(d)) for d in nearest])
    assert (above.predictions != labels).all()
    assert (below.predictions == labels).all()
    assert torch.allclose(above.distances.double(), 1.01 * nearest, rtol=1e-3) or isinstance(attack, PGD)


@pytest.mark.parametrize("eps", [0.03, 0.2, 0.6, 1.0])
@pytest.mark.parametrize(
    "attack", [FGSM(), PGD(steps=30, rel_step_size=0.2, restarts=2)], ids=["fgsm", "pgd"]
)
def test_in_the_box_each_pixel_goes_as_far_as_it_may(
    attack: FGSM | PGD, eps: float, model: nn.Module
) -> None:
    # The worst allowed margin is reached pixel by pixel: each moves by eps, or to its wall.
    images = seeding.uniform(9, torch.arange(N), SHAPE)
    f, w = margin(model, images), slope(model)
    labels = (f > 0).long()
    direction = -w.sign() * f.sign()[:, None]
    flat = images.double().flatten(1)
    room = torch.where(direction > 0, 1 - flat, flat).clamp(max=eps)
    worst = f + (room * direction * w).sum(dim=1)
    result = attack.run(model, images, labels, Linf(eps=eps), early_stop=False)
    assert torch.allclose(margin(model, result.images), worst, atol=1e-4)
    assert torch.equal(result.predictions == labels, worst.sign() == f.sign())


@pytest.mark.parametrize("classes", [2, 3, 10])
@pytest.mark.parametrize("eps", [0.02, 0.05, 0.1])
@pytest.mark.parametrize("norm", [Linf, L2])
def test_pgd_is_at_least_as_strong_as_fgsm(
    make_linear: Callable[..., nn.Module], classes: int, eps: float, norm: type[Linf] | type[L2]
) -> None:
    model = make_linear(classes=classes, shape=SHAPE, seed=classes)
    images = seeding.uniform(10, torch.arange(100), SHAPE)
    with torch.no_grad():
        labels = model(images).argmax(dim=1)
    threat = norm(eps=eps if norm is Linf else 4 * eps)
    fgsm = FGSM().run(model, images, labels, threat).predictions != labels
    pgd = PGD(steps=20, rel_step_size=0.2).run(model, images, labels, threat).predictions != labels
    assert not (fgsm & ~pgd).any()
    assert 0 < fgsm.sum() <= pgd.sum()


def test_accuracy_falls_as_eps_grows(model: nn.Module) -> None:
    images = seeding.uniform(11, torch.arange(200), SHAPE)
    labels = (margin(model, images) > 0).long()
    before = torch.zeros(200, dtype=torch.bool)
    for eps in (0.0, 0.01, 0.03, 0.1, 0.3, 1.0):
        broken = FGSM().run(model, images, labels, Linf(eps=eps)).predictions != labels
        assert not (before & ~broken).any()
        before = broken
    assert before.all()  # with eps 1 every image can be turned into any other


def test_the_result_does_not_depend_on_the_names_of_the_classes(
    make_linear: Callable[..., nn.Module],
) -> None:
    model: Any = make_linear(classes=4, shape=SHAPE)
    renamed: Any = make_linear(classes=4, shape=SHAPE)
    order = torch.tensor([2, 0, 3, 1])  # class order[k] of the one is class k of the other
    with torch.no_grad():
        renamed[1].weight.copy_(model[1].weight[order])
        renamed[1].bias.copy_(model[1].bias[order])
    images = seeding.uniform(12, torch.arange(N), SHAPE)
    labels = torch.arange(N) % 4
    back = torch.empty(4, dtype=torch.int64)
    back[order] = torch.arange(4)
    one = PGD(steps=5).run(model, images, labels, Linf(eps=0.1))
    other = PGD(steps=5).run(renamed, images, back[labels], Linf(eps=0.1))
    assert torch.equal(order[other.predictions], one.predictions)
    assert torch.allclose(other.images, one.images, atol=1e-6)


@pytest.mark.parametrize("scale", [1e-3, 0.1, 3.0])
def test_the_result_does_not_depend_on_the_size_of_the_logits(
    make_linear: Callable[..., nn.Module], scale: float
) -> None:
    images = grey_images(0.2)
    model, scaled = make_linear(classes=2, shape=SHAPE), make_linear(classes=2, shape=SHAPE, scale=scale)
    labels = (margin(model, images) > 0).long()
    for threat in (Linf(eps=0.02), L2(eps=0.1)):
        one = FGSM().run(model, images, labels, threat)
        other = FGSM().run(scaled, images, labels, threat)
        assert torch.equal(one.predictions, other.predictions)
        assert torch.allclose(one.images, other.images, atol=1e-4)
