"""Objectives that train on noise: closed forms, and a real training of some seconds."""

from functools import cache

import pytest
import torch
from torch import Tensor, nn

from robustlab.core import seeding
from robustlab.core.device import Compute
from robustlab.core.errors import RobustlabError
from robustlab.core.spec import parse
from robustlab.data import Splits, load_dataset
from robustlab.defenses import DiffusionDenoiser, NoisyCopies
from robustlab.models import Model, Shape
from robustlab.training import EMA, Adam, Denoising, DiffusionLoss, Objective, TrainConfig, VaeLoss, train
from robustlab.training.step import TrainingStep

FP32 = Compute(device="cpu", precision="fp32")


def step(network: nn.Module, images: Tensor, *, key: int = 1, validating: bool = False) -> TrainingStep:
    ids = 3 + torch.arange(len(images))
    return TrainingStep(
        network=network,
        player="loss",
        images=images,
        labels=ids % 3,
        ids=ids,
        progress=0.5,
        key=key,
        validating=validating,
    )


class Zero(nn.Module):
    def forward(self, points: Tensor, _: Tensor) -> Tensor:
        return torch.zeros_like(points)


def grey(level: float, n: int = 500) -> Tensor:
    return torch.full((n, 1, 6, 6), level)


def test_without_noise_denoising_is_the_summed_squared_error() -> None:
    images = torch.rand(4, 1, 6, 6)
    network = nn.AvgPool2d(3, stride=1, padding=1)
    expected = (network(images) - images).square().flatten(1).sum(dim=1).mean()
    assert Denoising(std=0.0).loss(step(network, images)).item() == pytest.approx(expected.item())


def test_noise_is_of_the_stated_std_and_clipped() -> None:
    # The identity leaves the noise: its variance for each of 36 pixels, half of it at black ones.
    found = Denoising(std=0.1).loss(step(nn.Identity(), grey(0.5))).item()
    assert found == pytest.approx(36 * 0.01, rel=0.05)
    assert Denoising(std=0.1).loss(step(nn.Identity(), grey(0.0))).item() == pytest.approx(
        18 * 0.01, rel=0.05
    )


def test_who_estimates_no_noise_has_loss_one() -> None:
    assert DiffusionLoss().loss(step(Zero(), grey(0.3))).item() == pytest.approx(1, rel=0.03)


def test_who_knows_the_image_has_loss_zero() -> None:
    class Knows(nn.Module):
        def forward(self, points: Tensor, time: Tensor) -> Tensor:
            angle = time[:, None, None, None] * (torch.pi / 2)
            return (points - angle.cos() * (2 * 0.3 - 1)) / angle.sin()

    assert DiffusionLoss().loss(step(Knows(), grey(0.3))).item() == pytest.approx(0, abs=1e-3)


@pytest.mark.parametrize("objective", [Denoising(), DiffusionLoss()], ids=repr)
def test_noise_changes_from_step_to_step_but_not_between_validations(objective: Objective) -> None:
    network = nn.Identity() if isinstance(objective, Denoising) else Zero()
    images = torch.rand(4, 1, 6, 6)

    def loss(key: int, *, validating: bool) -> float:
        return objective.loss(step(network, images, key=key, validating=validating)).item()

    assert loss(1, validating=False) != loss(2, validating=False)
    assert loss(1, validating=True) == loss(2, validating=True)


# Real trainings


@cache
def digits() -> Splits:
    return load_dataset("digits")


def trained(model: str, objective: Objective, config: TrainConfig) -> nn.Module:
    with seeding.isolated(1):
        network = parse(Model, model).build(Shape(1, 28, 28, 10))
    data = digits()
    train(network, objective, data.train, data.validation, config=config, compute=FP32, key=1)
    return network


def error(restored: Tensor) -> float:
    return float((restored - digits().test.pixels(slice(None))).square().mean())


def of_the_mean_image() -> float:
    return error(digits().train.pixels(slice(None)).mean(dim=0, keepdim=True))


@pytest.mark.parametrize(
    ("model", "objective", "epochs", "share"),
    [
        ("conv_vae(channels=8)", VaeLoss(), 3, 0.7),
        ("denoising_autoencoder(channels=8)", Denoising(std=0.2), 2, 0.5),
        ("reformer", Denoising(std=0.1), 3, 0.95),
    ],
)
@torch.no_grad()
def test_a_trained_autoencoder_reconstructs_better_than_the_mean_image(
    model: str, objective: Objective, epochs: int, share: float
) -> None:
    config = TrainConfig(epochs=epochs, batch_size=32, optimizer=Adam(lr=1e-2))
    with torch.enable_grad():
        network = trained(model, objective, config)
    images = digits().test.pixels(slice(None))
    with seeding.isolated(2):
        noisy = (images + 0.1 * torch.randn_like(images)).clamp(0, 1)
    for given in (images, noisy):
        restored = network(given)
        assert restored.min() >= 0
        assert restored.max() <= 1
        assert error(restored) < share * of_the_mean_image()


def test_a_trained_diffusion_model_removes_noise() -> None:
    config = TrainConfig(epochs=3, batch_size=32, optimizer=Adam(lr=5e-3), averaging=EMA(decay=0.9), clip=1.0)
    network = trained("diffusion(channels=4)", DiffusionLoss(), config)
    images = digits().test.pixels(slice(None))
    noisy = NoisyCopies(0.3, 1, 0)(images)
    with torch.no_grad():
        for steps in (1, 3):
            restored = DiffusionDenoiser(network, 0.3, steps)(noisy)
            assert error(restored) < 0.5 * min(of_the_mean_image(), error(noisy))


def test_a_vae_loss_needs_a_code_that_is_drawn() -> None:
    with pytest.raises(RobustlabError, match="variational autoencoder") as caught:
        trained("reformer", VaeLoss(), TrainConfig(epochs=1))
    assert "\n" not in str(caught.value)
