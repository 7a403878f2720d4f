"""A purified classifier is the composition, and gradients pass through both of its parts."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from robustlab.attacks import FGSM
from robustlab.core import seeding
from robustlab.defenses import PurifiedClassifier, Purifier
from robustlab.models import VAE, Shape
from robustlab.threats import Linf

SHAPE = Shape(1, 4, 4, 3)


@pytest.fixture
def networks(make_linear: Callable[..., nn.Module]) -> dict[str, nn.Module]:
    with seeding.isolated(1):
        vae = VAE(hidden=20, latent=5).build(SHAPE)
    return {"vae": vae, "baseline": make_linear(), "unused": nn.Identity()}


PURIFIER = Purifier(network="vae", classifier="baseline")


def test_it_classifies_the_reconstruction(
    networks: dict[str, nn.Module], make_batch: Callable[..., Any]
) -> None:
    composed = PURIFIER.compose(networks)
    images = make_batch(10).images
    assert isinstance(composed, PurifiedClassifier)
    assert not any(module.training for module in composed.modules())
    assert torch.equal(composed(images), networks["baseline"](networks["vae"](images)))
    assert PURIFIER.networks == ("vae", "baseline")
    assert torch.equal(composed(images[:3]), composed(images[:3]))


def test_an_attack_goes_through_both_parts(
    networks: dict[str, nn.Module], make_batch: Callable[..., Any]
) -> None:
    batch, composed = make_batch(10), PURIFIER.compose(networks)
    points = batch.images.clone().requires_grad_()
    loss = nn.functional.cross_entropy(networks["baseline"](networks["vae"](points)), batch.labels)
    (gradient,) = torch.autograd.grad(loss, points)
    result = FGSM().run(composed, batch.images, batch.labels, Linf(eps=0.1), early_stop=False)
    expected: Tensor = (batch.images + 0.1 * gradient.sign()).clamp(0, 1)
    assert torch.allclose(result.images, expected, atol=1e-6)
    alone = FGSM().run(networks["baseline"], batch.images, batch.labels, Linf(eps=0.1), early_stop=False)
    assert not torch.allclose(result.images, alone.images)


def test_a_missing_network_is_an_error(networks: dict[str, nn.Module]) -> None:
    with pytest.raises(KeyError, match="gone"):
        Purifier(network="gone", classifier="baseline").compose(networks)
