"""The deep CNN: its layers, its size, and its bounds."""

import pytest
import torch
from torch import Tensor, nn

from robustlab.certify import IBP
from robustlab.core import seeding
from robustlab.core.errors import SpecError
from robustlab.models import DeepCNN, Shape
from robustlab.threats import Linf

MNIST = Shape(1, 28, 28, 10)


def multiply_adds(network: nn.Module) -> int:
    counts: list[int] = []

    def count(layer: nn.Module, given: tuple[Tensor, ...], result: Tensor) -> None:
        del given
        if isinstance(layer, nn.Conv2d | nn.Linear):
            counts.append(result[0].numel() * layer.weight[0].numel())

    for layer in network.modules():
        layer.register_forward_hook(count)
    network.eval()(torch.rand(1, 1, 28, 28))
    return sum(counts)


def test_the_default_takes_about_as_many_multiply_adds_as_it_says() -> None:
    assert round(multiply_adds(DeepCNN().build(MNIST)), -5) == 4_500_000


def test_cnn7_is_a_setting() -> None:
    model = DeepCNN(channels=(64, 64, 128, 128, 128), strides=(1, 1, 2, 1, 1), hidden=512)
    with torch.device("meta"):
        network = model.build(MNIST)
    assert round(sum(part.numel() for part in network.parameters()) / 1e6) == 13


@pytest.mark.parametrize("batch_norm", [True, False])
def test_odd_sizes_and_colours_have_logits_and_bounds(batch_norm: bool) -> None:
    model = DeepCNN(channels=(3, 4), strides=(2, 2), hidden=5, batch_norm=batch_norm)
    with seeding.isolated(1):
        network = model.build(Shape(3, 9, 7, 4))
        images = torch.rand(6, 3, 9, 7)
    assert any(isinstance(part, nn.BatchNorm2d) for part in network.modules()) == batch_norm
    logits = network.eval()(images)
    assert logits.shape == (6, 4)
    margins = IBP().margins(network, images, logits.argmax(dim=1), Linf(eps=1e-4))
    assert (margins > -1).all()


def test_a_stride_for_each_convolution() -> None:
    with pytest.raises(SpecError, match="strides"):
        DeepCNN(channels=(3, 4), strides=(2,))
