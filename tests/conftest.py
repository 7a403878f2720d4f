"""What the tests share: small classifiers, random images, the digits, and the real MNIST files."""

import importlib
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
import torch
from hypothesis import settings
from torch import Tensor, nn

from robustlab.core import seeding, spec
from robustlab.core.device import Compute
from robustlab.core.spec import units
from robustlab.core.threads import VARIABLE
from robustlab.data import MNIST, ImageSource, Split, Splits, load_dataset, search_path
from robustlab.data.places import ENVIRONMENT
from robustlab.models import CNN, Shape

settings.register_profile("robustlab", max_examples=25, deadline=None, derandomize=True, database=None)
settings.load_profile("robustlab")

if "PYTEST_XDIST_WORKER" in os.environ:
    # The workers share the cores, where threads of theirs would only wait for each other. A process that a
    # test starts keeps as many threads as its users give it.
    torch.set_num_threads(1)

# Only with the same number of threads are the same weights the same bits; also in processes that tests start.
os.environ[VARIABLE] = "fixed"

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


class MadeImages(ImageSource):
    """Images (N, C, H, W) that are made of their places when they are read; it notes what is asked for.

    Attributes:
        asked: the places, by call.
        broken: the places that can't be read.
        hash: the source's own, where it has one.
    """

    def __init__(
        self, shape: tuple[int, ...], dtype: torch.dtype = torch.uint8, hash_: str = "", broken: int = -1
    ) -> None:
        self.shape, self.dtype, self.hash, self.broken = shape, dtype, hash_, broken
        self.asked: list[list[int]] = []

    def rows(self, places: Tensor) -> Tensor:
        self.asked.append(places.tolist())
        if self.broken in places:
            raise OSError(f"cannot identify image file 'photos/{self.broken}.png'")
        pattern = seeding.uniform(3, torch.tensor([0]), tuple(self.shape[1:])).mul(255).to(torch.uint8)
        first, second = ((part % 251).to(torch.uint8).view(-1, 1, 1, 1) for part in (places, places // 251))
        images = pattern * first + second
        return images if self.dtype == torch.uint8 else images / 255

    def sha256(self) -> str:
        return self.hash

    @property
    def most(self) -> int:
        """The largest number of images that was asked for at once."""
        return max(map(len, self.asked))

    @property
    def read(self) -> set[int]:
        """The places that were read."""
        return {place for call in self.asked for place in call}

    def split(self, labels: Tensor, name: str = "test") -> Split:
        """All images, read when they are asked for."""
        return Split.of(self, labels, name=name)

    def in_memory(self, split: Split) -> Split:
        """The same images as a split of this source has, in one tensor."""
        whole = replace(split, images=split.tensor())
        self.asked.clear()
        return whole


@pytest.fixture(scope="session")
def make_linear() -> LinearFactory:
    return linear_classifier


@pytest.fixture
def own_registry() -> Iterator[None]:
    """What a test registers is forgotten after it; all other units are loaded before it."""
    importlib.import_module("robustlab.study.runner")  # imports all units
    for kind in list(spec._registry):
        units(kind)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(spec, "_registry", {kind: dict(known) for kind, known in spec._registry.items()})
        yield


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
