"""The mistake of clamping normalised images to [0, 1]: it lifts the background to mid-grey."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from robustlab.attacks import FGSMLiteralClamp
from robustlab.core.errors import RobustlabError
from robustlab.threats import Linf, ThreatModel, Unbounded

ANY = Unbounded()
EPSILONS = [0.0, 0.1, 0.25, 0.5, 1.0]


def perturbed(model: nn.Module, images: Tensor, eps: float, threat: ThreatModel = ANY) -> Tensor:
    labels = torch.arange(len(images)) % 3
    return FGSMLiteralClamp(eps=eps).run(model, images, labels, threat, early_stop=False).images


@pytest.fixture
def model(make_linear: Callable[..., nn.Module]) -> nn.Module:
    return make_linear()


@pytest.mark.parametrize("eps", EPSILONS)
def test_the_background_becomes_mid_grey_at_any_eps(model: nn.Module, eps: float) -> None:
    assert torch.equal(perturbed(model, torch.zeros(6, 1, 4, 4), eps), torch.full((6, 1, 4, 4), 0.5))


@pytest.mark.parametrize("eps", EPSILONS)
def test_it_is_the_mistakes_formula(model: nn.Module, make_batch: Callable[..., Any], eps: float) -> None:
    images = make_batch(12).images
    points = images.clone().requires_grad_()
    F.cross_entropy(model(points), torch.arange(12) % 3).backward()  # type: ignore[no-untyped-call]
    assert points.grad is not None
    normalised = (images - 0.5) / 0.5
    attacked = torch.clamp(normalised + eps * points.grad.sign(), 0, 1)
    assert torch.allclose(perturbed(model, images, eps), attacked * 0.5 + 0.5, atol=1e-6)


@pytest.mark.parametrize("eps", EPSILONS)
def test_no_pixel_ends_up_dark(model: nn.Module, make_batch: Callable[..., Any], eps: float) -> None:
    images = perturbed(model, make_batch(12).images, eps)
    assert images.min() >= 0.5
    assert images.max() <= 1


def test_at_eps_0_only_the_clamp_is_left(model: nn.Module, make_batch: Callable[..., Any]) -> None:
    images = make_batch(12).images
    assert torch.allclose(perturbed(model, images, 0.0), images.clamp(min=0.5), atol=1e-6)


def test_it_is_no_bounded_attack(model: nn.Module) -> None:
    with pytest.raises(RobustlabError, match="supports unbounded"):
        perturbed(model, torch.zeros(6, 1, 4, 4), 0.25, Linf(eps=0.125))
