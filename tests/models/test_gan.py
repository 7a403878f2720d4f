"""The generative adversarial network: shapes, ranges and the meaning of its score."""

import pytest
import torch

from robustlab.core import seeding
from robustlab.models import GAN, GANNetwork, Shape

SHAPE = Shape(1, 28, 28, 10)


@pytest.fixture(scope="module")
def gan() -> GANNetwork:
    with seeding.isolated(3):
        return GAN(hidden=40, latent=6).build(SHAPE).eval()


def test_the_layers(gan: GANNetwork) -> None:
    generator = (6 + 1) * 20 + (20 + 1) * 40 + (40 + 1) * 784
    discriminator = (784 + 1) * 40 + (40 + 1) * 20 + (20 + 1) * 1
    assert sum(parameter.numel() for parameter in gan.generator.parameters()) == generator
    assert sum(parameter.numel() for parameter in gan.discriminator.parameters()) == discriminator
    assert sum(parameter.numel() for parameter in gan.parameters()) == generator + discriminator
    widths = [tuple(p.shape) for p in GAN().build(SHAPE).parameters() if p.ndim == 2]
    assert widths == [(256, 64), (512, 256), (784, 512), (512, 784), (256, 512), (1, 256)]


@pytest.mark.parametrize("scale", [0.0, 1.0, 1e6])
def test_generated_images_are_images(gan: GANNetwork, scale: float) -> None:
    made = gan.generate(scale * seeding.normal(2, torch.arange(6), (6,)))
    assert made.shape == (6, 1, 28, 28)
    assert made.min() >= 0
    assert made.max() <= 1


def test_the_score_is_one_number_per_image(gan: GANNetwork) -> None:
    images = seeding.uniform(1, torch.arange(5), SHAPE.image)
    logits = gan(images)
    assert logits.shape == (5,)
    assert torch.allclose(gan.realness(images), 1 / (1 + torch.exp(-logits)))
    assert torch.equal(gan(images), logits)
    assert torch.allclose(gan(images[:1]), logits[:1], atol=1e-6)
    assert gan(images[:1]).shape == (1,)


def test_the_discriminator_normalises_its_input(gan: GANNetwork) -> None:
    # Mid-grey is zero after normalisation: what is left are the biases.
    x = torch.zeros(1, 784)
    for layer in list(gan.discriminator)[2:]:
        x = layer(x)
    assert torch.allclose(gan(torch.full((1, 1, 28, 28), 0.5)), x.squeeze(1), atol=1e-6)


def test_dropout_acts_on_the_discriminator_in_training_only() -> None:
    network = GAN(hidden=40, latent=6, dropout=0.5).build(SHAPE).train()
    images, codes = torch.rand(3, 1, 28, 28), torch.randn(3, 6)
    assert not torch.equal(network(images), network(images))
    assert torch.equal(network.generate(codes), network.generate(codes))


def test_it_is_fp32_under_autocast(gan: GANNetwork) -> None:
    with torch.autocast("cpu", torch.bfloat16):
        assert gan(torch.rand(2, 1, 28, 28)).dtype == torch.float32
        assert gan.generate(torch.randn(2, 6)).dtype == torch.float32
