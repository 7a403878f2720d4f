"""The study's classifier, against the same network written out plainly."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from robustlab.core import seeding
from robustlab.models import CNN, Normalize, Shape

MNIST = Shape(1, 28, 28, 10)

STUDY = {
    "conv1.weight": (32, 1, 3, 3),
    "conv1.bias": (32,),
    "conv2.weight": (64, 32, 3, 3),
    "conv2.bias": (64,),
    "fc1.weight": (128, 3136),
    "fc1.bias": (128,),
    "fc2.weight": (64, 128),
    "fc2.bias": (64,),
    "fc3.weight": (10, 64),
    "fc3.bias": (10,),
}


def plainly(weights: dict[str, Tensor], images: Tensor) -> Tensor:
    """Convolution, ReLU, max-pool, in the order in which papers draw them."""
    x = (images - 0.5) / 0.5
    for layer in ("conv1", "conv2"):
        x = F.conv2d(x, weights[f"{layer}.weight"], weights[f"{layer}.bias"], padding=1)
        x = F.max_pool2d(F.relu(x), 2)
    x = x.flatten(1)
    for layer in ("fc1", "fc2"):
        x = F.relu(F.linear(x, weights[f"{layer}.weight"], weights[f"{layer}.bias"]))
    return F.linear(x, weights["fc3.weight"], weights["fc3.bias"])


def test_the_layers_are_the_studys(small_cnn: nn.Module) -> None:
    assert {name: tuple(tensor.shape) for name, tensor in small_cnn.state_dict().items()} == STUDY
    expected = (9 * 1 + 1) * 32 + (9 * 32 + 1) * 64 + (64 * 7 * 7 + 1) * 128 + (128 + 1) * 64 + (64 + 1) * 10
    assert sum(parameter.numel() for parameter in small_cnn.parameters()) == expected == 429_258


def test_it_computes_what_the_plain_network_computes(small_cnn: nn.Module) -> None:
    images = seeding.uniform(1, torch.arange(8), (1, 28, 28))
    with torch.no_grad():
        found, expected = small_cnn(images), plainly(small_cnn.state_dict(), images)
    assert found.shape == (8, 10)
    assert torch.allclose(found, expected, atol=1e-5)


@pytest.mark.parametrize("shape", [MNIST, Shape(3, 32, 32, 100), Shape(1, 8, 12, 2)])
def test_it_is_built_for_any_shape(shape: Shape) -> None:
    network = CNN(dropout=0.5).build(shape).eval()
    images = torch.rand(2, *shape.image)
    assert network(images).shape == (2, shape.classes)
    assert torch.allclose(network(images), plainly(network.state_dict(), images), atol=1e-5)


def test_dropout_acts_in_training_only(small_cnn: nn.Module) -> None:
    images = torch.rand(4, 1, 28, 28)
    assert torch.equal(small_cnn(images), small_cnn(images))
    network = CNN(dropout=0.2).build(MNIST).train()
    assert not torch.equal(network(images), network(images))
    dropped = network.get_submodule("dropout")(torch.ones(100_000))
    assert abs(float((dropped == 0).float().mean()) - 0.2) < 0.01
    certain = CNN(dropout=0.0).build(MNIST).train()
    assert torch.equal(certain(images), certain(images))


def test_the_seed_decides_the_weights() -> None:
    def weights(seed: int) -> list[Tensor]:
        with seeding.isolated(seed):
            return list(CNN().build(MNIST).state_dict().values())

    assert all(torch.equal(a, b) for a, b in zip(weights(1), weights(1), strict=True))
    assert not torch.equal(weights(1)[0], weights(2)[0])


def test_normalisation_is_a_layer_of_the_network() -> None:
    ends = torch.tensor([0.0, 0.25, 0.5, 1.0])
    assert Normalize()(ends).tolist() == [-1.0, -0.5, 0.0, 1.0]


def test_shapes_count() -> None:
    assert Shape(3, 4, 5, 6).image == (3, 4, 5)
    assert Shape(3, 4, 5, 6).pixels == 60
