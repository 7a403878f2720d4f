"""Bits and thresholds: exact values, their gradients, and what attacks and proofs make of them."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from robustlab.attacks import PGD, BPDAGradient
from robustlab.certify import IBP
from robustlab.core.spec import parse
from robustlab.defenses import BitDepth, ComposedDefense, Defense, Thresholded
from robustlab.threats import Linf

BOTH = ["bit_depth(classifier=base, bits=1)", "thresholded(classifier=base, at=0.5)"]


def composed(text: str, classifier: nn.Module) -> nn.Module:
    defense = parse(Defense, text)
    assert isinstance(defense, ComposedDefense)
    return defense.compose({"base": classifier})


def transformed(defense: ComposedDefense, pixels: Tensor) -> Tensor:
    found: Tensor = defense.compose({"base": nn.Identity()})(pixels)
    return found


@pytest.mark.parametrize(
    ("bits", "levels"), [(1, [0, 1]), (2, [0, 1 / 3, 2 / 3, 1]), (8, [k / 255 for k in range(256)])]
)
def test_pixels_go_to_the_nearest_of_the_levels(bits: int, levels: list[float]) -> None:
    pixels = torch.linspace(0, 1, 1000)
    found = transformed(BitDepth(classifier="base", bits=bits), pixels)
    known = torch.tensor(levels)
    assert torch.isin(found, known).all()
    nearest = (pixels[:, None] - known).abs().min(dim=1).values
    assert torch.allclose((found - pixels).abs(), nearest, atol=1e-6)
    assert torch.equal(transformed(BitDepth(classifier="base", bits=bits), known), known)


@pytest.mark.parametrize("at", [0.25, 0.3, 0.5, 1.0, 1e-9])
def test_a_pixel_is_white_from_the_threshold_on(at: float) -> None:
    below = torch.nextafter(torch.tensor(at), torch.tensor(-1.0))
    pixels = torch.tensor([0.0, float(below), float(torch.tensor(at)), 1.0, -0.5, 1.5])
    found = transformed(Thresholded(classifier="base", at=at), pixels)
    assert found.tolist() == [0, 0, 1, 1, 0, 1]


@pytest.mark.parametrize(("text", "zero"), list(zip(BOTH, [True, False], strict=True)))
def test_without_a_gradient_bpda_finds_its_way(
    text: str, zero: bool, make_linear: Callable[..., nn.Module], make_batch: Callable[..., Any]
) -> None:
    images = make_batch(30).images
    model = composed(text, make_linear())
    labels = model(images).argmax(dim=1)
    points = images.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(model(points).sum(), points)
    assert bool(gradient.abs().max() == 0) == zero
    alone = PGD(steps=10, start="clean").run(model, images, labels, Linf(eps=0.2))
    # A threshold passes gradients on, so that every attack finds its way.
    assert bool(alone.successes.float().mean() > 0.5) == (not zero)
    through = PGD(steps=10, start="clean", gradient=BPDAGradient(part="transform"))
    assert through.run(model, images, labels, Linf(eps=0.2)).successes.float().mean() > 0.5


@pytest.mark.parametrize("text", BOTH)
def test_proofs_pass_through(
    text: str, make_linear: Callable[..., nn.Module], make_batch: Callable[..., Any]
) -> None:
    # Pixels far from the threshold stay what they are, so the images can't change their class.
    images = make_batch(20).images.round() * 0.5 + 0.25
    model = composed(text, make_linear())
    labels = model(images).argmax(dim=1)
    assert IBP().certify(model, images, labels, Linf(eps=0.2)).all()
    assert not IBP().certify(model, images, labels, Linf(eps=0.4)).all()
