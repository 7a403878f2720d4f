"""What the tests share: small classifiers, random images, the digits, and the real MNIST files."""

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from hypothesis import settings
from torch import Tensor, nn

from robustlab.core import seeding
from robustlab.core.device import Compute
from robustlab.data import MNIST, Splits, load_dataset, search_path
from robustlab.data.places import ENVIRONMENT
from robustlab.models import CNN, Shape

settings.register_profile("robustlab", max_examples=25, deadline=None, derandomize=True, database=None)
settings.load_profile("robustlab")

if "PYTEST_XDIST_WORKER" in os.environ:
    # The workers share the cores, where threads of theirs would only wait for each other. A process that a
    # test starts keeps as many threads as its users give it.
    torch.set_num_threads(1)

_LONGEST = (
    "test_kill_and_resume.py",
    "test_mnist_study.py",
    "test_evaluation_resume.py",
    "test_evaluation_memory.py",
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Run the longest files first: the processes then end at about the same time."""
    items.sort(key=lambda item: item.path.name not in _LONGEST)


LinearFactory = Callable[..., nn.Module]


@dataclass(frozen=True, kw_only=True)
class Batch:
    """Random images with labels, and ids that are not their places."""

    images: Tensor
    labels: Tensor
    ids: Tensor


def linear_classifier(
    *, classes: int = 3, shape: tuple[int, int, int] = (1, 4, 4), scale: float = 1.0, seed: int = 0
) -> nn.Module:
    """A classifier whose logits are linear in the pixels, centred on mid-grey images."""
    pixels = shape[0] * shape[1] * shape[2]
    layer = nn.Linear(pixels, classes)
    weight = scale * seeding.normal(seeding.derive(seed, "linear"), torch.arange(classes), (pixels,))
    with torch.no_grad():
        layer.weight.copy_(weight)
        layer.bias.copy_(-0.5 * weight.sum(dim=1))
    return nn.Sequential(nn.Flatten(), layer).eval()


def random_batch(
    n: int, *, shape: tuple[int, int, int] = (1, 4, 4), classes: int = 3, seed: int = 0
) -> Batch:
    ids = 1000 + 7 * torch.arange(n)
    images = seeding.uniform(seeding.derive(seed, "images"), ids, shape)
    labels = (seeding.uniform(seeding.derive(seed, "labels"), ids, (1,)).squeeze(1) * classes).long()
    return Batch(images=images, labels=labels, ids=ids)


@pytest.fixture(scope="session")
def make_linear() -> LinearFactory:
    return linear_classifier


@pytest.fixture
def make_batch() -> Callable[..., Batch]:
    return random_batch


@pytest.fixture(scope="session")
def small_cnn() -> nn.Module:
    """The study's classifier with random weights."""
    with seeding.isolated(11):
        return CNN().build(Shape(1, 28, 28, 10)).eval()


@pytest.fixture(scope="session")
def digits() -> Splits:
    return load_dataset("digits")


@pytest.fixture(scope="session")
def fp32() -> Compute:
    return Compute(device="cpu", precision="fp32")


@pytest.fixture(scope="session")
def mnist_root() -> Path:
    """A folder that holds the real MNIST files; tests that ask for it carry the marker `mnist`."""
    root = MNIST().find()
    if root is None:
        pytest.skip(f"MNIST is in none of {', '.join(map(str, search_path()))}; set {ENVIRONMENT}")
    MNIST().verify(root)
    return root
