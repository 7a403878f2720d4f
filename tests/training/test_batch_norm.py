"""Statistics of batch normalisation: on the whole training set, and those of one pass."""

import copy

import pytest
import torch
from torch import Tensor, nn

from robustlab.core import seeding
from robustlab.core.device import Compute
from robustlab.core.errors import RobustlabError
from robustlab.data import Split, Splits
from robustlab.models import Shape, StridedCNN
from robustlab.training import EMA, SGD, CrossEntropy, Denoising, TrainConfig, train
from robustlab.training.batch_norm import batch_statistics, reestimate


def network_of() -> nn.Sequential:
    with seeding.isolated(1):
        return nn.Sequential(
            nn.Conv2d(1, 4, 4, 4),
            nn.BatchNorm2d(4),
            nn.ReLU(),
            nn.Dropout(0.5),
            nn.Flatten(),
            nn.Linear(196, 10),
            nn.BatchNorm1d(10),
        )


def moments(values: Tensor) -> tuple[Tensor, Tensor]:
    values = values.transpose(0, 1).flatten(1)
    return values.mean(dim=1), values.var(dim=1)


def test_the_statistics_are_those_of_the_whole_split(digits: Splits, fp32: Compute) -> None:
    network, data = network_of(), digits.train.take(slice(600))
    network[3].train(mode=False)
    network[1].momentum = 0.3  # type: ignore[assignment]
    modes = [part.training for part in network.modules()]
    with torch.no_grad():
        mean, variance = moments(network[0](data.pixels(slice(None))))
    reestimate(network, data, fp32)
    assert [part.training for part in network.modules()] == modes
    assert network[1].momentum == 0.3
    torch.testing.assert_close(network[1].running_mean, mean, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(network[1].running_var, variance, rtol=0.02, atol=1e-4)
    # Without dropout, and with the statistics of each batch in the layer before.
    parts = torch.arange(600).tensor_split(3)
    with torch.no_grad():
        network.train()[3].eval()
        means = [moments(network[:6](data.pixels(rows)))[0] for rows in parts]
    torch.testing.assert_close(network[6].running_mean, torch.stack(means).mean(dim=0), rtol=1e-3, atol=1e-4)


def test_weights_do_not_change(digits: Splits, fp32: Compute) -> None:
    network = network_of()
    before = copy.deepcopy(network.state_dict())
    reestimate(network, digits.train.take(slice(300)), fp32)
    changed = {name for name, tensor in network.state_dict().items() if not torch.equal(tensor, before[name])}
    statistics = ("running_mean", "running_var", "num_batches_tracked")
    assert changed == {f"{layer}.{name}" for layer in (1, 6) for name in statistics}


@pytest.mark.parametrize("average", [None, EMA(decay=0.9)])
def test_the_kept_network_has_the_statistics_of_its_weights(
    average: EMA | None, digits: Splits, fp32: Compute
) -> None:
    data, held_out = digits.train.take(slice(120)), digits.validation.take(slice(20))

    def trained(*, reestimated: bool) -> nn.Sequential:
        network = network_of()
        config = TrainConfig(
            epochs=2,
            batch_size=20,
            optimizer=SGD(lr=0.1),
            averaging=average,
            reestimate_batch_norm=reestimated,
        )
        train(network, CrossEntropy(), data, held_out, config=config, compute=fp32, key=3)
        return network

    network = trained(reestimated=True)
    again = copy.deepcopy(network)
    reestimate(again, data, fp32)
    for name, tensor in network.state_dict().items():
        torch.testing.assert_close(tensor, again.state_dict()[name])
    other = trained(reestimated=False)
    one, two = (part.state_dict()["1.running_mean"] for part in (other, network))
    assert not torch.allclose(one, two, rtol=1e-3)


def test_a_network_without_it_is_refused(digits: Splits, fp32: Compute) -> None:
    network = StridedCNN().build(Shape(1, 28, 28, 10))
    data: Split = digits.train.take(slice(20))
    config = TrainConfig(epochs=1, reestimate_batch_norm=True)
    with pytest.raises(RobustlabError, match="reestimate_batch_norm"):
        train(network, CrossEntropy(), data, data, config=config, compute=fp32, key=3)


def test_a_network_of_another_kind_is_refused(digits: Splits, fp32: Compute) -> None:
    # Its passes may need other arguments, or leave out a part with batch normalisation.
    data = digits.train.take(slice(20))
    config = TrainConfig(epochs=1, reestimate_batch_norm=True)
    with pytest.raises(RobustlabError, match="reestimate_batch_norm needs a classifier"):
        train(network_of(), Denoising(), data, data, config=config, compute=fp32, key=3)


def test_the_statistics_of_a_pass_are_those_that_it_took() -> None:
    network = network_of()
    images = torch.rand(30, 1, 28, 28)
    network[3].eval()
    with batch_statistics(network) as found:
        expected = network(images)
    mean, variance = moments(network[0](images))
    torch.testing.assert_close(found["1.running_mean"], mean.detach())
    # The layer divides by the number of values, and not by one less.
    torch.testing.assert_close(found["1.running_var"], variance.detach() * (30 * 49 - 1) / (30 * 49))
    network.eval()
    again = torch.func.functional_call(network, found, (images,))
    torch.testing.assert_close(again, expected)
    for parameter in network.parameters():
        gradients = [
            torch.autograd.grad(logits[:, 0].square().sum(), parameter, retain_graph=True)[0]
            for logits in (again, expected)
        ]
        torch.testing.assert_close(*gradients, rtol=1e-3, atol=1e-3)
    with batch_statistics(network) as found:
        network(images)
    assert found == {}


def test_a_last_image_alone_joins_the_batch_before_it(digits: Splits, fp32: Compute) -> None:
    with seeding.isolated(1):
        network = nn.Sequential(nn.Flatten(), nn.Linear(784, 10), nn.BatchNorm1d(10))
    sizes: list[int] = []
    network.register_forward_hook(
        lambda _, given, __: sizes.append(len(given[0])) if network.training else None
    )
    data, held_out = digits.train.take(slice(21)), digits.validation.take(slice(20))
    train(
        network,
        CrossEntropy(),
        data,
        held_out,
        config=TrainConfig(epochs=2, batch_size=10),
        compute=fp32,
        key=3,
    )
    assert sizes == [10, 11] * 2
