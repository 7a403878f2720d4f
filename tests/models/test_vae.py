"""The variational autoencoder, against its formulas."""

import pytest
import torch
from torch import Tensor, nn

from robustlab.core import seeding
from robustlab.models import VAE, Shape, VAENetwork

SHAPE = Shape(1, 28, 28, 10)


@pytest.fixture(scope="module")
def vae() -> VAENetwork:
    with seeding.isolated(3):
        return VAE(hidden=50, latent=7).build(SHAPE).eval()


def images(n: int = 5) -> Tensor:
    return seeding.uniform(1, torch.arange(n), SHAPE.image)


def test_the_layers(vae: VAENetwork) -> None:
    assert sum(parameter.numel() for parameter in vae.parameters()) == (
        (784 + 1) * 50 + 2 * (50 + 1) * 7 + (7 + 1) * 50 + (50 + 1) * 784
    )
    studys = VAE().build(SHAPE)
    assert studys.encoder.weight.shape == (400, 784)
    assert studys.mean.weight.shape == studys.log_variance.weight.shape == (20, 400)
    assert studys.output.weight.shape == (784, 400)


def test_it_computes_its_formulas(vae: VAENetwork) -> None:
    def linear(layer: nn.Linear, x: Tensor) -> Tensor:
        return x.double() @ layer.weight.double().T + layer.bias.double()

    hidden = linear(vae.encoder, images().flatten(1)).clamp(min=0)
    mean, log_variance = vae.encode(images())
    assert torch.allclose(mean.double(), linear(vae.mean, hidden), atol=1e-5)
    assert torch.allclose(log_variance.double(), linear(vae.log_variance, hidden), atol=1e-5)
    pixels = torch.sigmoid(linear(vae.output, linear(vae.decoder, mean).clamp(min=0)))
    assert torch.allclose(vae.generate(mean).double().flatten(1), pixels, atol=1e-5)
    assert torch.equal(vae(images()), vae.generate(mean))


def test_a_reconstruction_is_deterministic(vae: VAENetwork) -> None:
    # As a defense it must not hide behind noise, not even in train mode.
    torch.manual_seed(1)
    before = torch.get_rng_state()
    first = vae(images())
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(2)
    assert torch.equal(vae(images()), first)
    assert torch.allclose(vae(images()[:2]), first[:2], atol=1e-6)


@pytest.mark.parametrize("scale", [0.0, 1.0, 1e6])
def test_outputs_are_images(vae: VAENetwork, scale: float) -> None:
    codes = scale * seeding.normal(2, torch.arange(6), (7,))
    for made in (vae.generate(codes), vae(scale * images(6))):
        assert made.shape == (6, 1, 28, 28)
        assert made.dtype == torch.float32
        assert made.min() >= 0
        assert made.max() <= 1


def test_gradients_reach_the_input(vae: VAENetwork) -> None:
    points = images().requires_grad_()
    (gradient,) = torch.autograd.grad(vae(points).sum(), points)
    assert (gradient.flatten(1).abs().amax(dim=1) > 0).all()


def test_it_is_fp32_under_autocast(vae: VAENetwork) -> None:
    with torch.autocast("cpu", torch.bfloat16):
        mean, log_variance = vae.encode(images())
        assert mean.dtype == log_variance.dtype == vae(images()).dtype == torch.float32
