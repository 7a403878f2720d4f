"""The training loop: what an objective sees of an epoch, and which epoch is kept."""

from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from robustlab.attacks import FGSM
from robustlab.core.device import Compute
from robustlab.core.errors import RobustlabError
from robustlab.data import Split, Splits
from robustlab.threats import Linf
from robustlab.training import (
    Adam,
    CrossEntropy,
    Objective,
    RobustValidation,
    TrainConfig,
    TrainingStep,
    train,
)


class Recorder(Objective):
    """Notes the batches; the network has one weight, on which the loss does not really depend."""

    network_kind = "one weight"

    def __init__(self) -> None:
        self.trained: list[list[int]] = []
        self.validated: list[list[int]] = []

    def loss(self, step: TrainingStep) -> Tensor:
        images, labels = step.images, step.labels
        assert images.dtype == torch.float32
        assert images.min() >= 0
        assert images.max() <= 1
        assert torch.equal((images.flatten(1)[:, 0] * 255).round().long(), labels)
        (self.validated if step.validating else self.trained).append(labels.tolist())
        return 0 * next(iter(step.network.parameters())).sum()


def numbered(n: int) -> Split:
    """A split whose images and labels are their own numbers."""
    numbers = torch.arange(n)
    images = numbers.to(torch.uint8)[:, None, None, None].expand(n, 1, 2, 2).clone()
    return Split(images=images, labels=numbers, ids=numbers, name="train")


def test_every_image_is_shown_once_per_epoch_in_a_new_order(fp32: Compute) -> None:
    recorder = Recorder()
    config = TrainConfig(epochs=3, batch_size=8)
    train(nn.Linear(1, 1), recorder, numbered(30), numbered(5), config=config, compute=fp32, key=3)
    epochs = [[i for batch in recorder.trained[4 * e : 4 * e + 4] for i in batch] for e in range(3)]
    assert [len(batch) for batch in recorder.trained] == 3 * [8, 8, 8, 6]
    for order in epochs:
        assert sorted(order) == list(range(30))
        assert order != list(range(30))
    assert len(set(map(tuple, epochs))) == 3
    assert recorder.validated == 3 * [[0, 1, 2, 3, 4]]


class OneWeight(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.w = nn.Parameter(torch.zeros(1))


@dataclass(frozen=True, kw_only=True)
class Climb(Objective):
    """Training drives the weight up by the learning rate per step; validation prefers ``best``."""

    network_kind = "one weight"
    best: float
    selects: bool = True

    def loss(self, step: TrainingStep) -> Tensor:
        (w,) = step.network.parameters()
        return -w.sum() if step.network.training else (w - self.best).square().sum()


@pytest.mark.parametrize(("best", "kept"), [(-1.0, 1), (0.12, 1), (0.32, 3), (0.48, 5), (9.0, 5)])
def test_the_best_validation_epoch_is_kept(best: float, kept: int, fp32: Compute) -> None:
    # One step per epoch, and Adam's step on a constant gradient is the learning rate: w = 0.1 * epoch.
    network = OneWeight()
    config = TrainConfig(epochs=5, batch_size=4, optimizer=Adam(lr=0.1))
    history = train(network, Climb(best=best), numbered(4), numbered(2), config=config, compute=fp32, key=1)
    assert history.best_epoch == kept
    assert network.w.item() == pytest.approx(0.1 * kept, rel=1e-4)
    expected = [(0.1 * epoch - best) ** 2 for epoch in range(1, 6)]
    assert [epoch["validation loss"] for epoch in history.epochs] == pytest.approx(expected, rel=1e-4)
    assert [e["train loss"] for e in history.epochs] == pytest.approx([-0.1 * e for e in range(5)], abs=1e-5)


def test_the_last_epoch_is_kept_where_the_loss_does_not_choose(fp32: Compute) -> None:
    network = OneWeight()
    config, objective = (
        TrainConfig(epochs=5, batch_size=4, optimizer=Adam(lr=0.1)),
        Climb(best=-1.0, selects=False),
    )
    history = train(network, objective, numbered(4), numbered(2), config=config, compute=fp32, key=1)
    assert history.best_epoch == 5
    assert network.w.item() == pytest.approx(0.5, rel=1e-4)


def test_of_equals_the_earlier_epoch_is_kept(fp32: Compute) -> None:
    history = train(
        nn.Linear(1, 1),
        Recorder(),
        numbered(4),
        numbered(2),
        config=TrainConfig(epochs=3),
        compute=fp32,
        key=1,
    )
    assert history.best_epoch == 1


def test_the_mean_loss_weighs_a_smaller_last_batch_by_its_size(fp32: Compute) -> None:
    class Number(Objective):
        network_kind = "one weight"

        def loss(self, step: TrainingStep) -> Tensor:
            return step.labels.float().mean() + 0 * next(iter(step.network.parameters())).sum()

    history = train(
        nn.Linear(1, 1),
        Number(),
        numbered(13),
        numbered(7),
        config=TrainConfig(epochs=1, batch_size=5),
        compute=fp32,
        key=1,
    )
    assert history.epochs == [{"train loss": pytest.approx(6.0), "validation loss": pytest.approx(3.0)}]


def not_finite(value: float, where: str) -> Objective:
    class Broken(Objective):
        network_kind = "one weight"

        def loss(self, step: TrainingStep) -> Tensor:
            (w,) = step.network.parameters()
            return w.sum() + (value if step.network.training == (where == "training") else 0)

    return Broken()


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
@pytest.mark.parametrize("where", ["training", "validation"])
def test_a_loss_that_is_not_finite_is_an_error(
    value: float, where: str, fp32: Compute, tmp_path: Path
) -> None:
    with pytest.raises(RobustlabError, match=r"training diverged in epoch 1.* learning rate of"):
        train(
            OneWeight(),
            not_finite(value, where),
            numbered(4),
            numbered(2),
            config=TrainConfig(epochs=2),
            compute=fp32,
            key=1,
            checkpoint=tmp_path / "checkpoint",
        )
    assert not (tmp_path / "checkpoint").exists()


class Explodes(CrossEntropy):
    """Cross-entropy that becomes NaN, and so does the network."""

    def loss(self, step: TrainingStep) -> Tensor:
        return super().loss(step) * float("nan")


def test_a_training_that_diverged_is_not_attacked(digits: Splits, fp32: Compute) -> None:
    network = nn.Sequential(nn.Flatten(), nn.Linear(784, 10))
    data = digits.train.take(slice(10))
    validation = RobustValidation(attack=FGSM(), threat=Linf(eps=0.1), images=5)
    config = TrainConfig(epochs=1, validation=validation)
    with pytest.raises(RobustlabError, match="training diverged in epoch 1: the train loss is nan"):
        train(network, Explodes(), data, data, config=config, compute=fp32, key=1)


@pytest.mark.parametrize(
    ("network", "message"),
    [
        (nn.Identity(), r"cross_entropy trains a classifier.*shape \(2, 1, 28, 28\)"),
        (nn.Sequential(nn.Flatten(), nn.Linear(784, 9)), "9 logits, but labels go up to 9"),
        (nn.Sequential(nn.Flatten(), nn.Linear(784, 10), nn.Flatten(0)), r"shape \(20,\)"),
    ],
)
def test_an_objective_of_classifiers_refuses_other_networks(
    network: nn.Module, message: str, digits: Splits, fp32: Compute
) -> None:
    data = digits.train.take(slice(100))
    with pytest.raises(RobustlabError, match=message):
        train(network, CrossEntropy(), data, data, config=TrainConfig(epochs=1), compute=fp32, key=1)
