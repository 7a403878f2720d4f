"""Robust validation: what it measures, and which epoch it keeps."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from robustlab.attacks import FGSM, PGD, GaussianNoise
from robustlab.core import seeding
from robustlab.core.device import Compute
from robustlab.core.errors import RobustlabError, SpecError
from robustlab.data import Split, Splits
from robustlab.models import StridedCNN
from robustlab.models.base import Shape
from robustlab.threats import L2, Linf, Unbounded
from robustlab.training import (
    SGD,
    CrossEntropy,
    Objective,
    RobustValidation,
    TrainConfig,
    TrainingStep,
    VaeLoss,
    train,
)

SHORT = RobustValidation(attack=PGD(steps=3, rel_step_size=0.5), threat=Linf(eps=0.1), images=50)


def test_it_is_the_accuracy_under_the_attack_on_the_first_images(digits: Splits, fp32: Compute) -> None:
    with seeding.isolated(1):
        network = StridedCNN().build(Shape(1, 28, 28, 10))
    config = TrainConfig(epochs=3, batch_size=30, validation=SHORT)
    data = (digits.train.take(slice(300)), digits.validation)
    history = train(network, CrossEntropy(), *data, config=config, compute=fp32, key=1)
    part = digits.validation.take(slice(50))
    seed = seeding.derive(1, "robust validation")
    found = SHORT.attack.run(
        network, part.pixels(slice(None)), part.labels, SHORT.threat, ids=part.ids, seed=seed
    )
    accuracy = float((found.predictions == part.labels).double().mean())
    kept = history.epochs[history.best_epoch - 1]
    assert kept["validation robust accuracy"] == pytest.approx(accuracy)
    assert kept["validation robust accuracy"] < kept["validation accuracy"]
    assert accuracy == max(epoch["validation robust accuracy"] for epoch in history.epochs)


class Downhill(Objective):
    """One weight goes down by 1 per step, and the validation loss with it."""

    def loss(self, step: TrainingStep) -> torch.Tensor:
        return next(iter(step.network.parameters())).sum()


class OneWeight(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.w = nn.Parameter(torch.zeros(1))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.w.expand(len(images), 2)


@pytest.mark.parametrize(
    ("accuracies", "kept"),
    [
        ([0.5, 0.75, 0.25], 2),
        ([0.75, 0.5, 0.5], 1),
        ([0.0, 0.0, 0.0], 3),  # of equals the one with the lower loss
        ([0.5, 0.75, 0.75], 3),
    ],
)
def test_the_epoch_with_the_highest_robust_accuracy_is_kept(
    accuracies: list[float], kept: int, fp32: Compute, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers = iter(accuracies)
    monkeypatch.setattr(RobustValidation, "accuracy", lambda *_: next(answers))
    split = Split.of(torch.zeros(4, 1, 2, 2), torch.zeros(4).long(), name="train")
    config = TrainConfig(epochs=3, batch_size=4, optimizer=SGD(lr=1.0, momentum=0.0), validation=SHORT)
    network = OneWeight()
    history = train(network, Downhill(), split, split, config=config, compute=fp32, key=1)
    assert [epoch["validation robust accuracy"] for epoch in history.epochs] == accuracies
    assert history.best_epoch == kept
    assert network.w.item() == -kept


def test_it_does_not_change_the_training(digits: Splits, fp32: Compute) -> None:
    data = (digits.train.take(slice(100)), digits.validation.take(slice(30)))

    def losses(validation: RobustValidation | None) -> list[float]:
        with seeding.isolated(1):
            network = normalized()
        config = TrainConfig(epochs=3, batch_size=30, validation=validation)
        history = train(network, CrossEntropy(), *data, config=config, compute=fp32, key=1)
        return [epoch[name] for epoch in history.epochs for name in ("train loss", "validation loss")]

    assert losses(SHORT) == losses(None)


def normalized() -> nn.Module:
    network = StridedCNN(hidden=20).build(Shape(1, 28, 28, 10))
    return nn.Sequential(network, nn.BatchNorm1d(10), nn.Dropout(0.3))


def test_the_attack_must_fit_the_threat_model() -> None:
    with pytest.raises(SpecError, match="pgd supports"):
        RobustValidation(attack=PGD(), threat=Unbounded())
    with pytest.raises(SpecError, match="gaussian_noise supports"):
        RobustValidation(attack=GaussianNoise(std=0.1), threat=L2(eps=1.0))


def test_it_needs_a_classifier(digits: Splits, fp32: Compute) -> None:
    network = nn.Linear(1, 1)
    config = TrainConfig(epochs=1, validation=SHORT)
    with pytest.raises(RobustlabError, match="robust validation needs a classifier"):
        train(network, VaeLoss(), digits.train, digits.validation, config=config, compute=fp32, key=1)


def test_a_training_ends_when_the_accuracy_under_attack_collapses(
    digits: Splits, fp32: Compute, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    reached = iter([0.3, 0.6, 0.55, 0.35, 0.9])
    monkeypatch.setattr(RobustValidation, "accuracy", lambda *_: next(reached))
    stopping = RobustValidation(attack=FGSM(), threat=Linf(eps=0.1), stop=0.2)
    config = TrainConfig(epochs=5, validation=stopping)
    data = (digits.train.take(slice(60)), digits.validation.take(slice(30)))
    network = StridedCNN().build(Shape(1, 28, 28, 10))
    options: Any = {"config": config, "compute": fp32, "key": 1, "checkpoint": tmp_path / "checkpoint"}
    history = train(network, CrossEntropy(), *data, **options)
    assert len(history.epochs) == 4
    assert history.best_epoch == 2
    # A call after the end takes no further epoch.
    assert train(network, CrossEntropy(), *data, **options) == history
