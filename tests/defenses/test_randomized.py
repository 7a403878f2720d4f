"""Classifiers of noisy copies: the mean, the seed, and the gradient."""

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from robustlab.core import seeding
from robustlab.defenses import MeanOfCopies, NoisyCopies, Smoothed


@pytest.fixture
def images(make_batch: Callable[..., Any]) -> Tensor:
    batch: Tensor = make_batch(6).images
    return batch


def smoothed(classifier: nn.Module, **options: Any) -> nn.Module:
    return Smoothed(classifier="base", **options).compose({"base": classifier})


def test_copies_are_the_images_with_noise_of_the_stated_std() -> None:
    images = torch.rand(2, 1, 50, 50)
    with seeding.isolated(1):
        copies = NoisyCopies(0.2, 4, None)(images).view(4, 2, 1, 50, 50)
    noise = copies - images
    assert noise.std().item() == pytest.approx(0.2, rel=0.03)
    assert noise.mean().item() == pytest.approx(0, abs=0.01)
    assert (noise[0] - noise[1]).abs().max() > 0.1
    assert (noise[:, 0] - noise[:, 1]).abs().max() > 0.1


def test_the_answer_is_the_mean_probability_of_the_copies(
    make_linear: Callable[..., nn.Module], images: Tensor
) -> None:
    classifier, noise = make_linear(), NoisyCopies(0.3, 5, 7)
    found = MeanOfCopies(noise, classifier)(images)
    each = classifier(noise(images)).view(5, 6, 3).softmax(dim=2)
    assert torch.allclose(found.exp(), each.mean(dim=0), atol=1e-6)
    assert torch.allclose(found.exp().sum(dim=1), torch.ones(6), atol=1e-6)


def test_one_copy_without_much_noise_is_the_classifier(
    make_linear: Callable[..., nn.Module], images: Tensor
) -> None:
    classifier = make_linear()
    found = smoothed(classifier, sigma=1e-6, votes=1)(images)
    assert torch.allclose(found, classifier(images).log_softmax(dim=1), atol=1e-4)


def test_without_a_seed_each_pass_has_its_own_noise(
    make_linear: Callable[..., nn.Module], images: Tensor
) -> None:
    model = smoothed(make_linear())
    with seeding.isolated(1):
        first, second = model(images), model(images)
    assert not torch.allclose(first, second)
    with seeding.isolated(1):
        assert torch.equal(model(images), first)


def test_with_a_seed_an_answer_depends_on_the_image_alone(
    make_linear: Callable[..., nn.Module], images: Tensor
) -> None:
    model = smoothed(make_linear(), seed=3, votes=4)
    before = torch.get_rng_state()
    first = model(images)
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.allclose(model(images[2:4]), first[2:4], atol=1e-6)
    assert torch.allclose(model(images.flip(0)), first.flip(0), atol=1e-6)
    assert not torch.allclose(smoothed(make_linear(), seed=4, votes=4)(images), first)


@torch.no_grad()
def test_more_votes_spread_less(make_linear: Callable[..., nn.Module], images: Tensor) -> None:
    def spread(votes: int) -> float:
        model = smoothed(make_linear(), votes=votes)
        with seeding.isolated(2):
            answers = torch.stack([model(images).exp() for _ in range(40)])
        return float(answers.std(dim=0).mean())

    # The standard deviation of a mean of 16.
    assert spread(16) == pytest.approx(spread(1) / math.sqrt(16), rel=0.3)


def test_the_gradient_is_that_of_finite_differences(
    make_linear: Callable[..., nn.Module], images: Tensor
) -> None:
    model = smoothed(make_linear(), seed=1, votes=3).double()
    points = images[:2].double().requires_grad_()
    assert torch.autograd.gradcheck(model, (points,))
