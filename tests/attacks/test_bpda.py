"""BPDA: the part forwards, its stand-in backwards."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from robustlab.attacks import BPDA, PGD
from robustlab.core import seeding
from robustlab.threats import Linf


class Stairs(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return (x * 8).round() / 8


class Cube(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x**3


@pytest.mark.parametrize("scale", [1e-30, 1.0, 1e30])
@pytest.mark.parametrize("stand_in", [None, Cube()], ids=repr)
def test_forwards_the_part_and_backwards_the_stand_in(stand_in: nn.Module | None, scale: float) -> None:
    x = scale ** (1 / 3) * seeding.normal(1, torch.arange(20), (3,))
    x.requires_grad_()
    result = BPDA(Stairs(), stand_in)(x)
    assert torch.equal(result, Stairs()(x))
    (gradient,) = torch.autograd.grad((result * torch.arange(3.0)).sum(), x)
    slope = torch.ones_like(x) if stand_in is None else 3 * x.detach() ** 2
    assert torch.allclose(gradient, slope * torch.arange(3.0))


def test_a_gradient_attack_gets_through(make_linear: Callable[..., nn.Module]) -> None:
    classifier = make_linear(classes=3)
    images = seeding.uniform(2, torch.arange(50), (1, 4, 4))
    hidden, shown = (nn.Sequential(part, classifier).eval() for part in (Stairs(), BPDA(Stairs())))
    with torch.no_grad():
        labels = hidden(images).argmax(dim=1)
        assert torch.equal(hidden(images), shown(images))
    masked = PGD(steps=10).run(hidden, images, labels, Linf(eps=0.15)).successes
    found = PGD(steps=10).run(shown, images, labels, Linf(eps=0.15))
    assert masked.sum() < 0.5 * found.successes.sum()
    assert found.successes.sum() > 25
    # What it found holds without the wrapper.
    with torch.no_grad():
        assert torch.equal(hidden(found.images).argmax(dim=1), found.predictions)


def test_it_follows_the_mode_of_the_whole() -> None:
    layer = BPDA(nn.Dropout(0.5), nn.Dropout(0.1))
    assert layer.train().part.training
    assert not any(m.training for m in layer.eval().modules())
