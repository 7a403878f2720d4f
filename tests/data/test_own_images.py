"""A user's own images in Python: arrays, and torch's datasets, subsets and loaders."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from picture_folders import write_pictures
from torch import nn
from torch.utils.data import DataLoader, Dataset, IterableDataset, Subset, SubsetRandomSampler, TensorDataset
from torchvision import transforms
from torchvision.datasets import ImageFolder

import robustlab
from robustlab.core.errors import DataError, RobustlabError
from robustlab.data import Digits
from robustlab.data.own import as_split
from robustlab.evaluation.images import load_images

IMAGES, LABELS = torch.rand(6, 1, 4, 4, generator=torch.Generator().manual_seed(0)), torch.arange(6) % 3


class Items(Dataset[Any]):
    """Items of any kind, which it counts."""

    def __init__(self, items: list[Any]) -> None:
        self.items, self.asked = items, 0

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, place: int) -> Any:
        self.asked += 1
        return self.items[place]


class Listed(Items):
    """Items with a list of their labels."""

    def __init__(self, items: list[Any], targets: Any) -> None:
        super().__init__(items)
        self.targets = targets


class Stream(IterableDataset[Any]):
    def __iter__(self) -> Any:
        return iter([])


PAIRS = list(zip(IMAGES, LABELS.tolist(), strict=True))


@pytest.mark.parametrize(
    "given",
    [
        (IMAGES, LABELS),
        (IMAGES.numpy(), LABELS.numpy().astype(np.int32)),
        TensorDataset(IMAGES, LABELS),
        Items(PAIRS),
        Items([{"image": image, "label": label} for image, label in PAIRS]),
        Items([(image[0], label) for image, label in PAIRS]),
        Items([(image.permute(1, 2, 0).numpy(), torch.tensor(label)) for image, label in PAIRS]),
        Subset(Subset(Items([*PAIRS, (None, None)]), [5, 4, 3, 2, 1, 0]), [5, 4, 3, 2, 1, 0]),
        DataLoader(Items(PAIRS), 4),
        DataLoader(Items(PAIRS), 4, collate_fn=lambda items: tuple(map(list, zip(*items, strict=True)))),
        Listed(PAIRS, LABELS.tolist()),
    ],
    ids=lambda value: type(value).__name__ if not isinstance(value, str) else value,
)
def test_all_of_them_give_the_same_split(given: Any) -> None:
    own = as_split(given)
    assert torch.equal(own.split.tensor(), IMAGES)
    assert own.split.labels.tolist() == LABELS.tolist()
    assert own.split.sha256() == as_split((IMAGES, LABELS)).split.sha256()
    assert own.remarks == ()


def test_pictures_are_those_of_the_datasets_transforms(tmp_path: Path) -> None:
    write_pictures(tmp_path, ["a", "b"], 3)
    plain, scaled = ImageFolder(str(tmp_path)), ImageFolder(str(tmp_path), transforms.ToTensor())
    assert as_split(plain).split.images.dtype == torch.uint8
    assert torch.equal(as_split(plain).split.pixels(slice(None)), as_split(scaled).split.tensor())
    part = as_split(Subset(scaled, [5, 0]))
    assert (part.name, part.split.labels.tolist()) == ("ImageFolder", [1, 0])
    turned = ImageFolder(str(tmp_path), transforms.ToTensor(), target_transform=lambda label: 1 - label)
    assert as_split(turned).split.labels.tolist() == [1, 1, 1, 0, 0, 0]


def test_items_are_read_as_they_are_needed() -> None:
    items = Listed(PAIRS * 100, LABELS.tolist() * 100)
    split = as_split(items).split
    before = items.asked
    assert before <= 16
    assert torch.equal(split.take(slice(2, 4)).tensor(), IMAGES[2:4])
    assert items.asked == before + 2
    notes: list[str] = []
    as_split(Items(PAIRS), notes.append)
    assert notes == ["all 6 items of the dataset are read for their labels"]


def test_a_loader_that_shuffles_is_read_in_order() -> None:
    own = as_split(DataLoader(Items(PAIRS), 4, shuffle=True))
    assert torch.equal(own.split.tensor(), IMAGES)
    assert own.remarks == ("the DataLoader shuffles; its images are read in the order of its dataset",)


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ((IMAGES,), "must be .images, labels., found a tuple of 1"),
        ((IMAGES, torch.eye(6)), r"labels must be integers of shape \(6,\), .* take argmax\(1\)"),
        ((IMAGES, LABELS.float()), "labels must be integers"),
        (Stream(), "is a Stream, which can't be read by number"),
        (DataLoader(Stream()), "is a Stream, which can't be read by number"),
        (
            DataLoader(Items(PAIRS), sampler=SubsetRandomSampler([1])),
            "by a SubsetRandomSampler; give .* a Subset",
        ),
        (Items([]), "the dataset Items is empty"),
        (Items([IMAGES[0]] * 3), "an item must be .image, label., found a Tensor"),
        (Items([{"picture": 1}]), "found the keys picture; accepted: image, img"),
        (Items([("photo.png", 1)]), "an item's image must be a picture, .* found a str"),
        (Items([(image, 0.5) for image, _ in PAIRS]), "labels must be integers"),
        (Items([(image, [0, 1]) for image, _ in PAIRS]), r"of shape \(6, 2\); of one-hot rows"),
        (Items([(IMAGES[0], 0), (IMAGES[0, :, 1:], 0)]), r"different shapes: item 0 \(1, 4, 4\), item 1"),
        (Items([PAIRS[0], None]), "an item must be .image, label., found None"),
    ],
    ids=lambda value: type(value).__name__ if not isinstance(value, str) else value,
)
def test_what_cannot_be_used_is_named(given: Any, expected: str) -> None:
    with pytest.raises(RobustlabError, match=expected):
        as_split(given)


def test_an_error_of_the_dataset_is_shown_with_its_line() -> None:
    class Failing(Items):
        def __getitem__(self, place: int) -> Any:
            raise KeyError("photo")

    with pytest.raises(RobustlabError, match=r"the dataset failed: KeyError: 'photo' \(test_own_images\.py"):
        as_split(Failing(PAIRS))


def test_random_transforms_are_found() -> None:
    class Noisy(Items):
        def __getitem__(self, place: int) -> Any:
            image, label = super().__getitem__(place)
            return torch.rand_like(image), label

    with pytest.raises(DataError, match="another image when it is asked again, as with a random transform"):
        as_split(Noisy(PAIRS))


def test_values_out_of_range_and_wrong_targets_are_found_when_they_are_read() -> None:
    normalised = as_split(Items([(image - 0.5, label) for image, label in PAIRS])).split
    with pytest.raises(DataError, match=r"^image 0 can't be used: .*normalise inside the model"):
        normalised.tensor()
    wrong = as_split(Listed(PAIRS, [0] * 6)).split
    with pytest.raises(DataError, match="item 1 has the label 1, but targets has 0"):
        wrong.tensor()


def test_an_evaluation_takes_them(tmp_path: Path) -> None:
    model = nn.Sequential(nn.Flatten(), nn.Linear(16, 3)).eval()
    options: dict[str, Any] = {"attacks": "fgsm", "threat": "linf(eps=0.1)", "checks": False}
    first = robustlab.evaluate(model, dataset=(IMAGES, LABELS), out=tmp_path / "a", **options)
    second = robustlab.evaluate(model, dataset=DataLoader(Items(PAIRS)), out=tmp_path / "b", **options)
    assert second.results.images.sha256 == first.results.images.sha256
    assert (first.results.images.name, second.results.images.name) == ("own", "Items")
    assert second.results.robust == first.results.robust
    with pytest.raises(RobustlabError, match="the model outputs 3 logits, but labels go up to 3"):
        robustlab.evaluate(model, dataset=(IMAGES, LABELS + 1), out=tmp_path / "c", **options)
    wrong: Any = 3
    with pytest.raises(RobustlabError, match=r"dataset must be a name, .* found an int"):
        robustlab.evaluate(model, dataset=wrong, out=tmp_path / "c", **options)


def test_a_unit_is_a_dataset_too() -> None:
    assert load_images(Digits(), n=3).name == "digits"


def test_the_first_of_sorted_images_have_a_remark() -> None:
    labels = torch.arange(40) // 10
    images = torch.zeros(40, 1, 2, 2)
    assert load_images((images, labels), n=5).remarks == (
        "the images are sorted by class: the first 5 show 1 of 4 classes; shuffle them",
    )
    assert load_images((images, labels)).remarks == ()
    assert load_images((images, labels.flip(0)), n=5).remarks == ()


def test_a_label_beside_metadata_is_the_label() -> None:
    class Described(Dataset[Any]):
        def __len__(self) -> int:
            return len(IMAGES)

        def __getitem__(self, place: int) -> tuple[Any, int, dict[str, int]]:
            return IMAGES[place], int(LABELS[place]), {"place": place}

    assert as_split(Described()).split.labels.tolist() == LABELS.tolist()
