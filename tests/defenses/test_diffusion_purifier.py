"""Purification by a diffusion model: its formulas, its gradient and its randomness."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from robustlab.attacks import APGD, FGSM
from robustlab.core import seeding
from robustlab.defenses import DiffusionDenoiser, DiffusionPurifier, NoisyCopies
from robustlab.models import Diffusion, Shape
from robustlab.models.diffusion import mixture, time_of
from robustlab.threats import Linf

SHAPE = Shape(1, 4, 4, 3)


@pytest.fixture
def network() -> nn.Module:
    with seeding.isolated(1):
        made = Diffusion(channels=8).build(SHAPE)
        nn.init.normal_(made.unet.head.weight, std=0.1)  # it begins at zero, where all is the identity
    return made.eval()


@pytest.fixture
def images(make_batch: Callable[..., Any]) -> Tensor:
    batch: Tensor = make_batch(5).images
    return batch


class KnownNoise(nn.Module):
    """Estimates the noise in points made of one known image: exactly."""

    def __init__(self, image: Tensor) -> None:
        super().__init__()
        self.image = 2 * image - 1

    def forward(self, points: Tensor, time: Tensor) -> Tensor:
        of_image, of_noise = mixture(time[:, None, None, None])
        return (points - of_image * self.image) / of_noise


@pytest.mark.parametrize("std", [0.05, 0.3, 1.0])
def test_the_time_of_a_noise_is_that_of_its_std(std: float) -> None:
    of_image, of_noise = mixture(torch.tensor(time_of(std), dtype=torch.float64))
    assert float(of_noise / of_image) == pytest.approx(2 * std)
    assert float(of_noise**2 + of_image**2) == pytest.approx(1)


@pytest.mark.parametrize("steps", [1, 2, 15])
def test_where_the_noise_is_known_it_is_removed(steps: int) -> None:
    image = torch.rand(1, 1, 4, 4)
    noisy = NoisyCopies(0.4, 3, 0)(image)
    assert (noisy - image).abs().max() > 0.1
    found = DiffusionDenoiser(KnownNoise(image), 0.4, steps)(noisy)
    assert torch.allclose(found, image.expand(3, 1, 4, 4), atol=1e-5)


def test_one_step_is_the_estimated_image(network: nn.Module, images: Tensor) -> None:
    time = torch.full((5,), time_of(0.3))
    of_image, of_noise = mixture(time[0])
    noise = network(of_image * (2 * images - 1), time)
    expected = (2 * images - 1) - noise * of_noise / of_image
    found = DiffusionDenoiser(network, 0.3, 1)(images)
    assert torch.allclose(found, (expected + 1) / 2, atol=1e-5)
    assert not torch.allclose(DiffusionDenoiser(network, 0.3, 5)(images), found, atol=1e-4)


@pytest.mark.parametrize("steps", [1, 4])
def test_the_gradient_is_that_of_finite_differences(
    network: nn.Module, make_linear: Callable[..., nn.Module], images: Tensor, steps: int
) -> None:
    defense = DiffusionPurifier(network="d", classifier="c", steps=steps, votes=2, seed=5)
    model = defense.compose({"d": network, "c": make_linear()}).double()
    assert torch.autograd.gradcheck(model, (images[:1].double().requires_grad_(),), fast_mode=True)


def test_steps_computed_again_give_the_same_gradient(network: nn.Module, images: Tensor) -> None:
    gradients, passes = [], []
    for checkpointed in (False, True):
        calls: list[int] = []
        handle = network.register_forward_hook(lambda *_, calls=calls: calls.append(1))
        points = images.clone().requires_grad_()
        denoised = DiffusionDenoiser(network, 0.3, 4, checkpointed=checkpointed)(points)
        gradients.append(torch.autograd.grad(denoised.square().sum(), points)[0])
        passes.append(len(calls))
        handle.remove()
    assert torch.equal(*gradients)
    assert gradients[0].abs().max() > 0
    assert passes == [4, 8]


def test_several_gradients_of_one_pass(network: nn.Module, images: Tensor) -> None:
    # As attacks on all classes ask for them.
    points = images.clone().requires_grad_()
    denoised = DiffusionDenoiser(network, 0.3, 3)(points)
    first = torch.autograd.grad(denoised.sum(), points, retain_graph=True)[0]
    again = torch.autograd.grad(denoised.sum(), points)[0]
    assert torch.equal(first, again)


def test_the_seed_makes_it_deterministic_per_image(
    network: nn.Module, make_linear: Callable[..., nn.Module], images: Tensor
) -> None:
    parts = {"d": network, "c": make_linear()}
    fixed = DiffusionPurifier(network="d", classifier="c", seed=0).compose(parts)
    assert torch.allclose(fixed(images[1:3]), fixed(images)[1:3], atol=1e-5)
    drawn = DiffusionPurifier(network="d", classifier="c").compose(parts)
    assert not torch.allclose(drawn(images), drawn(images))
    assert not any(module.training for module in drawn.modules())


@pytest.mark.parametrize("seed", [None, 0])
def test_attacks_go_through_all_parts(
    network: nn.Module, make_linear: Callable[..., nn.Module], images: Tensor, seed: int | None
) -> None:
    defense = DiffusionPurifier(network="d", classifier="c", steps=2, noise=0.1, seed=seed)
    model = defense.compose({"d": network, "c": make_linear()})
    with seeding.isolated(0):
        labels = model(images).argmax(dim=1)
    samples = 4 if seed is None else 1
    found = APGD(steps=5).run(model, images, labels, Linf(eps=0.3), eot_samples=samples)
    assert found.successes.float().mean() > 0.5


def test_a_step_of_fgsm_is_the_sign_of_the_gradient(
    network: nn.Module, make_linear: Callable[..., nn.Module], images: Tensor
) -> None:
    defense = DiffusionPurifier(network="d", classifier="c", steps=3, seed=1)
    model = defense.compose({"d": network, "c": make_linear()})
    labels = torch.tensor([0, 1, 2, 0, 1])
    points = images.clone().requires_grad_()
    loss = nn.functional.cross_entropy(model(points), labels)
    (gradient,) = torch.autograd.grad(loss, points)
    found = FGSM().run(model, images, labels, Linf(eps=0.1), early_stop=False)
    expected = (images + 0.1 * gradient.sign()).clamp(0, 1)
    assert torch.allclose(found.images, expected, atol=1e-6)
