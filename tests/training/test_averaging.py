"""Averages of the weights: the formula, the buffers, and what the loop does with them."""

import copy

import pytest
import torch
from torch import Tensor, nn

from robustlab.core import seeding
from robustlab.core.device import Compute
from robustlab.data import Splits
from robustlab.models import StridedCNN
from robustlab.models.base import Shape
from robustlab.training import EMA, CrossEntropy, Objective, TrainConfig, TrainingStep, train
from robustlab.training.averaging import AveragedWeights


def normalized() -> nn.Module:
    with seeding.isolated(3):
        return nn.Sequential(nn.Flatten(), nn.Linear(4, 3), nn.BatchNorm1d(3), nn.Linear(3, 2))


@pytest.mark.parametrize("decay", [0.0, 0.05, 0.3, 0.9])
def test_after_n_steps_it_is_the_formula(decay: float) -> None:
    network, average = normalized(), EMA(decay=decay)
    kept = [min(decay, (1 + k) / (10 + k)) for k in range(6)]
    assert [average.kept(k) for k in range(6)] == pytest.approx(kept)
    weights = AveragedWeights(network)
    states = [copy.deepcopy(network.state_dict())]
    for k in range(6):
        with torch.no_grad():
            for parameter in network.parameters():
                parameter.add_(torch.randn(parameter.shape, generator=torch.Generator().manual_seed(k)))
        network(torch.rand(5, 1, 2, 2, generator=torch.Generator().manual_seed(k)))
        states.append(copy.deepcopy(network.state_dict()))
        weights.update(network, average.kept(k))
    # The share of the state after step k: (1 - kept_k) times all that is kept later.
    shares = [
        torch.tensor(kept).prod(),
        *((1 - kept[k]) * torch.tensor(kept[k + 1 :]).prod() for k in range(6)),
    ]
    assert float(sum(shares)) == pytest.approx(1.0)
    for name, found in weights.tensors.items():
        if name.endswith("num_batches_tracked"):
            assert found == 6
            continue
        expected = sum(share * state[name] for share, state in zip(shares, states, strict=True))
        torch.testing.assert_close(found, torch.as_tensor(expected), rtol=1e-4, atol=1e-5)
    assert not torch.equal(weights.tensors["2.running_mean"], states[-1]["2.running_mean"]) or decay == 0


def test_a_constant_decay_is_geometric() -> None:
    # Where decay is below the limits of the beginning: d^n w_0 + (1 - d) sum d^(n - k) w_k.
    network, decay = nn.Linear(1, 1, bias=False), 0.08
    weights, values = AveragedWeights(network), [network.weight.item()]
    for k in range(1, 5):
        with torch.no_grad():
            network.weight.fill_(k)
        values.append(float(k))
        weights.update(network, EMA(decay=decay).kept(k - 1))
    expected = decay**4 * values[0] + (1 - decay) * sum(decay ** (4 - k) * values[k] for k in range(1, 5))
    assert weights.tensors["weight"].item() == pytest.approx(expected, rel=1e-5)


class Recorded(Objective):
    """Cross-entropy, noting the weights before each step."""

    def __init__(self) -> None:
        self.before: list[dict[str, Tensor]] = []

    def loss(self, step: TrainingStep) -> Tensor:
        if not step.validating:
            self.before.append(copy.deepcopy(step.network.state_dict()))
        return CrossEntropy().loss(step)


def test_the_average_is_validated_and_kept_and_does_not_change_the_training(
    digits: Splits, fp32: Compute
) -> None:
    data = (digits.train.take(slice(200)), digits.validation.take(slice(60)))

    def run(config: TrainConfig) -> tuple[nn.Module, Recorded, list[dict[str, float]], int]:
        with seeding.isolated(1):
            network, objective = StridedCNN().build(Shape(1, 28, 28, 10)), Recorded()
        history = train(network, objective, *data, config=config, compute=fp32, key=7)
        return network, objective, history.epochs, history.best_epoch

    averaged, with_average, epochs, best = run(TrainConfig(epochs=3, batch_size=40, averaging=EMA(decay=0.6)))
    _, without, plain, _ = run(TrainConfig(epochs=3, batch_size=40))
    assert [epoch["train loss"] for epoch in epochs] == [epoch["train loss"] for epoch in plain]
    assert epochs[0]["validation loss"] != plain[0]["validation loss"]
    for one, other in zip(with_average.before, without.before, strict=True):
        assert all(torch.equal(one[name], other[name]) for name in one)
    # The recursion by hand; after the last step the weights themselves are not seen, so look one epoch back.
    average = {name: tensor.clone() for name, tensor in with_average.before[0].items()}
    for k, state in enumerate(with_average.before[1:11]):
        kept = EMA(decay=0.6).kept(k)
        average = {name: kept * average[name] + (1 - kept) * state[name] for name in average}
    with torch.no_grad():
        two = StridedCNN().build(Shape(1, 28, 28, 10)).eval()
        two.load_state_dict(average)
        logits = two(data[1].pixels(slice(None)))
        loss = nn.functional.cross_entropy(logits, data[1].labels).item()
        assert epochs[1]["validation loss"] == pytest.approx(loss, rel=1e-4)
        logits = averaged(data[1].pixels(slice(None)))
        loss = nn.functional.cross_entropy(logits, data[1].labels).item()
    assert epochs[best - 1]["validation loss"] == pytest.approx(loss, rel=1e-4)
