"""Objectives, against closed forms and torch.distributions."""

import math

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.distributions import Normal, kl_divergence

from robustlab.core import seeding
from robustlab.models import GAN, VAE, GANNetwork, Shape, VAENetwork
from robustlab.training import CrossEntropy, GanLoss, TrainingStep, VaeLoss

SHAPE = Shape(1, 6, 6, 3)
LABELS = torch.tensor([0, 1, 2, 1])


def images(n: int = 4, seed: int = 0) -> Tensor:
    return seeding.uniform(seeding.derive(seed, "images"), torch.arange(n), SHAPE.image)


def step(network: nn.Module, batch: Tensor, player: str = "loss") -> TrainingStep:
    labels, ids = LABELS[: len(batch)], torch.arange(len(batch))
    return TrainingStep(
        network=network, player=player, images=batch, labels=labels, ids=ids, progress=0.5, key=1
    )


class FixedLogits(nn.Module):
    def __init__(self, logits: Tensor) -> None:
        super().__init__()
        self.logits = logits

    def forward(self, x: Tensor) -> Tensor:
        assert len(x) == len(self.logits)
        return self.logits


# Cross-entropy


@given(seed=st.integers(0, 1000), scale=st.sampled_from([0.1, 1.0, 30.0]))
def test_cross_entropy_is_the_mean_negative_log_likelihood(seed: int, scale: float) -> None:
    logits = scale * seeding.normal(seed, torch.arange(4), (3,))
    network = FixedLogits(logits)
    expected = torch.stack(
        [torch.logsumexp(row.double(), 0) - row.double()[y] for row, y in zip(logits, LABELS, strict=True)]
    ).mean()
    found = CrossEntropy().loss(step(network, images()))
    assert found.item() == pytest.approx(expected.item(), rel=1e-5, abs=1e-6)


def test_cross_entropy_is_computed_in_fp32() -> None:
    logits = torch.tensor([[1.0, 2.0, 3.0]]).to(torch.bfloat16)
    assert CrossEntropy().loss(step(FixedLogits(logits), images(1))).dtype == torch.float32


# Reconstruction


def vae(seed: int = 0) -> VAENetwork:
    with seeding.isolated(seed):
        return VAE(hidden=12, latent=4).build(SHAPE)


def loss_of(network: VAENetwork, kl_weight: float, batch: Tensor) -> Tensor:
    with seeding.isolated(5):
        return VaeLoss(kl_weight=kl_weight).loss(step(network, batch))


def without_noise(network: VAENetwork) -> VAENetwork:
    with torch.no_grad():
        network.log_variance.weight.zero_()
        network.log_variance.bias.fill_(-200.0)
    return network


def test_reconstruction_without_noise_is_the_summed_squared_error() -> None:
    network, batch = without_noise(vae()), images()
    expected = (network(batch) - batch).double().square().flatten(1).sum(dim=1).mean()
    assert loss_of(network, 0.0, batch).item() == pytest.approx(expected.item(), rel=1e-5)


@pytest.mark.parametrize("seed", range(5))
def test_the_divergence_is_that_of_torch_distributions(seed: int) -> None:
    network, batch = vae(seed), images(seed=seed)
    mean, log_variance = network.encode(batch)
    divergence = (
        kl_divergence(Normal(mean, torch.exp(0.5 * log_variance)), Normal(0.0, 1.0)).sum(dim=1).mean()
    )
    assert divergence > 0
    plain = loss_of(network, 0.0, batch)
    for weight in (0.5, 1.0, 4.0):
        found = loss_of(network, weight, batch) - plain
        assert found.item() == pytest.approx(weight * divergence.item(), rel=1e-3)


def test_the_code_is_drawn_from_the_encoders_gaussian() -> None:
    network, batch = vae(), images(2)
    with seeding.isolated(5):
        noise = torch.randn(2, 4)
    mean, log_variance = network.encode(batch)
    restored = network.generate(mean + noise * (0.5 * log_variance).exp())
    assert loss_of(network, 0.0, batch).item() == pytest.approx((restored - batch).square().sum().item() / 2)


def test_the_loss_is_a_mean_over_images() -> None:
    network = without_noise(vae())
    each = [loss_of(network, 1.0, images()[i : i + 1]).item() for i in range(4)]
    assert loss_of(network, 1.0, images()).item() == pytest.approx(sum(each) / 4, rel=1e-5)


# The adversarial game


def gan_with_verdict(logit: float) -> GANNetwork:
    """A GAN whose discriminator says the same of every image."""
    network = GAN(hidden=8, latent=3, dropout=0.0).build(SHAPE)
    last = network.discriminator[-1]
    assert isinstance(last, nn.Linear)
    with torch.no_grad():
        last.weight.zero_()
        last.bias.fill_(logit)
    return network


def softplus(x: float) -> float:
    return math.log1p(math.exp(x))


@given(logit=st.floats(-5, 5), smoothing=st.floats(0, 0.49))
def test_the_game_is_binary_cross_entropy(logit: float, smoothing: float) -> None:
    game, network = GanLoss(smoothing=smoothing), gan_with_verdict(logit)
    # -log D(x) = softplus(-logit) and -log(1 - D(x)) = softplus(logit).
    real = (1 - smoothing) * softplus(-logit) + smoothing * softplus(logit)
    found = game.loss(step(network, images(), "discriminator"))
    assert found.item() == pytest.approx(real + softplus(logit), rel=1e-4, abs=1e-5)
    found = game.loss(step(network, images(), "generator"))
    assert found.item() == pytest.approx(softplus(-logit), rel=1e-4, abs=1e-5)


def test_at_equilibrium_the_losses_are_those_of_the_paper() -> None:
    network = gan_with_verdict(0.0)
    assert GanLoss().loss(step(network, images(), "discriminator")).item() == pytest.approx(
        math.log(4), rel=1e-5
    )


def test_each_player_learns_on_its_own_loss() -> None:
    with seeding.isolated(1):
        network = GAN(hidden=8, latent=3, dropout=0.0).build(SHAPE)
    players = GanLoss().players(network)
    assert players == {"discriminator": network.discriminator, "generator": network.generator}
    assert next(iter(players)) == "discriminator"

    def touched(player: str) -> set[str]:
        network.zero_grad(set_to_none=True)
        GanLoss().loss(step(network, images(), player)).backward()  # type: ignore[no-untyped-call]
        grads = {name: p.grad for name, p in network.named_parameters()}
        return {name.split(".")[0] for name, grad in grads.items() if grad is not None and grad.any()}

    assert touched("discriminator") == {"discriminator"}
    assert "generator" in touched("generator")


def test_the_discriminator_compares_real_with_generated_images() -> None:
    with seeding.isolated(1):
        network = GAN(hidden=8, latent=3, dropout=0.0).build(SHAPE)
    with seeding.isolated(2):
        found = GanLoss().loss(step(network, images(), "discriminator"))
    with seeding.isolated(2):
        fake = network.generate(torch.randn(4, 3))
    expected = F.softplus(-network(images())).mean() + F.softplus(network(fake)).mean()
    assert found.item() == pytest.approx(expected.item(), rel=1e-5)


def test_only_classifiers_choose_their_epoch_by_loss() -> None:
    assert CrossEntropy().selects
    assert VaeLoss().selects
    assert not GanLoss().selects
