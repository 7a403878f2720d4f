"""Optimizers, against their formulas on a linear classifier."""

import pytest
import torch
from torch import Tensor, nn

from robustlab.core.device import Compute
from robustlab.core.errors import SpecError
from robustlab.core.spec import parse
from robustlab.data import Split
from robustlab.training import SGD, Adam, CrossEntropy, Optimizer, Schedule, TrainConfig, train


def numbers(n: int = 12) -> Split:
    draws = torch.Generator().manual_seed(3)
    images, labels = torch.rand(n, 1, 2, 3, generator=draws), torch.randint(4, (n,), generator=draws)
    return Split.of(images, labels, name="train")


def linear() -> nn.Module:
    layer = nn.Linear(6, 4)
    draws = torch.Generator().manual_seed(4)
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=draws))
    return nn.Sequential(nn.Flatten(), layer)


def double(network: nn.Module) -> list[Tensor]:
    return [parameter.detach().double() for parameter in network.parameters()]


def slopes(data: Split, weights: list[Tensor]) -> list[Tensor]:
    """The gradient of the mean cross-entropy: (softmax - one-hot) x / N."""
    matrix, bias = weights
    x = data.tensor().flatten(1).double()
    excess = (x @ matrix.T + bias).softmax(dim=1) - nn.functional.one_hot(data.labels, 4)
    return [excess.T @ x / len(x), excess.mean(dim=0)]


def trained(config: TrainConfig, data: Split) -> list[Tensor]:
    """The weights after the last epoch: training and validation loss fall together."""
    network = linear()
    compute = Compute(device="cpu", precision="fp32")
    history = train(network, CrossEntropy(), data, data, config=config, compute=compute, key=1)
    assert history.best_epoch == config.epochs
    return double(network)


@pytest.mark.parametrize(
    ("momentum", "nesterov", "weight_decay"),
    [(0.0, False, 0.0), (0.0, False, 0.3), (0.8, False, 0.0), (0.8, True, 0.1)],
)
def test_steps_of_sgd_are_its_formula(momentum: float, nesterov: bool, weight_decay: float) -> None:
    lr, steps, data = 0.2, 3, numbers()
    optimizer = SGD(lr=lr, momentum=momentum, nesterov=nesterov, weight_decay=weight_decay)
    expected, moments = double(linear()), [torch.zeros(()).double()] * 2
    for _ in range(steps):
        slope = [g + weight_decay * w for g, w in zip(slopes(data, expected), expected, strict=True)]
        moments = [momentum * m + g for m, g in zip(moments, slope, strict=True)]
        move = [g + momentum * m for g, m in zip(slope, moments, strict=True)] if nesterov else moments
        expected = [w - lr * m for w, m in zip(expected, move, strict=True)]
    found = trained(TrainConfig(epochs=steps, batch_size=len(data), optimizer=optimizer), data)
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-6)


def test_steps_of_adam_are_its_formula() -> None:
    (lr, b1, b2, decay), data = (0.05, 0.7, 0.9, 0.2), numbers()
    expected = double(linear())
    first, second = [torch.zeros(()).double()] * 2, [torch.zeros(()).double()] * 2
    for step in (1, 2, 3):
        slope = [g + decay * w for g, w in zip(slopes(data, expected), expected, strict=True)]
        first = [b1 * m + (1 - b1) * g for m, g in zip(first, slope, strict=True)]
        second = [b2 * v + (1 - b2) * g**2 for v, g in zip(second, slope, strict=True)]
        expected = [
            w - lr * (m / (1 - b1**step)) / ((v / (1 - b2**step)).sqrt() + 1e-8)
            for w, m, v in zip(expected, first, second, strict=True)
        ]
    optimizer = Adam(lr=lr, betas=(b1, b2), weight_decay=decay)
    found = trained(TrainConfig(epochs=3, batch_size=len(data), optimizer=optimizer), data)
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)


def test_nesterov_needs_momentum() -> None:
    with pytest.raises(SpecError, match="momentum"):
        parse(Optimizer, "sgd(momentum=0, nesterov=True)")


@pytest.mark.parametrize("text", ["adam(betas=(True, 0.9))", "adam(betas=0.9)", "adam(betas=(0.5, 1.0))"])
def test_what_betas_cannot_be(text: str) -> None:
    with pytest.raises(SpecError, match="betas"):
        parse(Optimizer, text)


@pytest.mark.parametrize("norm", [0.05, 1e6])
def test_a_longer_gradient_is_cut_to_the_norm(norm: float) -> None:
    data = numbers()
    start, slope = double(linear()), slopes(numbers(), double(linear()))
    length = torch.cat([g.flatten() for g in slope]).norm()
    assert 0.05 < length < 1e6
    config = TrainConfig(epochs=1, batch_size=len(data), optimizer=SGD(lr=1.0, momentum=0.0), clip=norm)
    factor = min(1.0, norm / float(length))
    for one, w, g in zip(trained(config, data), start, slope, strict=True):
        torch.testing.assert_close(one, w - factor * g, rtol=1e-4, atol=1e-6)


class Staircase(Schedule):
    """Notes what it is asked, and answers with the progress."""

    def __init__(self) -> None:
        self.asked: list[float] = []

    def scale(self, progress: float) -> float:
        self.asked.append(progress)
        return progress


def test_the_schedule_multiplies_the_learning_rate_at_each_step() -> None:
    data, schedule = numbers(), Staircase()
    optimizer = SGD(lr=0.4, momentum=0.0)
    found = trained(TrainConfig(epochs=2, batch_size=12, optimizer=optimizer, schedule=schedule), data)
    expected = double(linear())
    for progress in (0.25, 0.75):
        expected = [w - 0.4 * progress * g for w, g in zip(expected, slopes(data, expected), strict=True)]
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-6)
    assert schedule.asked == [0.25, 0.75]
    schedule.asked.clear()
    trained(TrainConfig(epochs=2, batch_size=5, optimizer=optimizer, schedule=schedule), data)
    assert schedule.asked == pytest.approx([(k + 0.5) / 6 for k in range(6)])
