"""Splits: what they hold, how they are cut, and the hash that results are keyed by."""

from collections.abc import Callable

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from robustlab.data import Split, Splits


def make_split(n: int = 5, dtype: torch.dtype = torch.uint8, name: str = "train") -> Split:
    images = (torch.arange(n * 8) % 256).view(n, 2, 2, 2).to(dtype)
    images = images / 255 if dtype.is_floating_point else images
    return Split(images=images, labels=torch.arange(n) % 3, ids=10 * torch.arange(n), name=name)


def test_bytes_become_the_pixel_scale() -> None:
    images = torch.arange(256, dtype=torch.uint8).view(1, 1, 16, 16)
    split = Split(images=images, labels=torch.tensor([0]), ids=torch.tensor([0]), name="test")
    pixels = split.pixels(slice(None))
    assert pixels.dtype == torch.float32
    assert pixels.min() == 0
    assert pixels.max() == 1
    assert torch.allclose(pixels.flatten().double(), torch.arange(256).double() / 255, atol=1e-7)
    assert torch.equal((pixels * 255).round().to(torch.uint8), images)
    assert split.images.dtype == torch.uint8  # converted on the way out, not in place


def test_float_images_are_on_the_pixel_scale_already() -> None:
    split = make_split(dtype=torch.float32)
    assert torch.equal(split.pixels(slice(None)), split.tensor())


@given(rows=st.lists(st.integers(0, 4), max_size=8))
def test_taking_rows(rows: list[int]) -> None:
    split = make_split()
    chosen = torch.tensor(rows, dtype=torch.int64)
    taken = split.take(chosen)
    assert len(taken) == len(rows)
    assert taken.name == split.name
    assert taken.ids.tolist() == [10 * row for row in rows]
    assert taken.labels.tolist() == [row % 3 for row in rows]
    assert torch.equal(taken.tensor(), split.tensor()[chosen])
    assert torch.equal(taken.pixels(slice(None)), split.pixels(chosen))
    assert taken.to("cpu").sha256() == taken.sha256()


def changed(part: str, change: Callable[[torch.Tensor], torch.Tensor]) -> Split:
    parts = {name: getattr(make_split(), name) for name in ("images", "labels", "ids")}
    return Split(**{**parts, part: change(parts[part].clone())}, name="train")


@pytest.mark.parametrize("part", ["images", "labels", "ids"])
def test_the_hash_changes_with_anything(part: str) -> None:
    def one_more(values: torch.Tensor) -> torch.Tensor:
        values.view(-1)[-1] += 1
        return values

    def reshaped(values: torch.Tensor) -> torch.Tensor:
        return values.view(-1, 1)

    hashes = {
        make_split().sha256(),
        changed(part, one_more).sha256(),
        changed(part, reshaped).sha256(),
        changed(part, lambda values: values.to(torch.int16)).sha256(),
        changed(part, lambda values: values.flip(0)).sha256(),
    }
    assert len(hashes) == 5


def test_the_hash_depends_on_content_alone() -> None:
    split = make_split()
    other_layout = split.tensor().to(memory_format=torch.channels_last)
    assert not other_layout.is_contiguous()
    same = Split(images=other_layout, labels=split.labels.clone(), ids=split.ids.clone(), name="other")
    assert same.sha256() == split.sha256()
    assert make_split(10).take(slice(5)).sha256() == split.sha256()


def test_a_dataset_is_limited() -> None:
    data = Splits(
        name="toy",
        train=make_split(9, name="train"),
        validation=make_split(6, name="validation"),
        test=make_split(4, name="test"),
        source="made up",
        fallback="because",
    )
    cut = data.limited(5, 100, 2)
    assert [len(cut.split(part)) for part in ("train", "validation", "test")] == [5, 6, 2]
    assert [cut.split(part).name for part in ("train", "validation", "test")] == [
        "train",
        "validation",
        "test",
    ]
    assert (cut.name, cut.source, cut.fallback) == ("toy", "made up", "because")
    assert torch.equal(cut.train.ids, data.train.ids[:5])
    assert torch.equal(cut.test.ids, data.test.ids[[0, 2]])
    assert torch.equal(data.limited(5, 100, 3).test.ids, data.test.ids[:3])
    assert data.limited(9, 6, 4).test is data.test


def test_the_number_of_classes_counts_all_splits() -> None:
    # A few training images need not show every class.
    data = Splits(name="toy", train=make_split(1), validation=make_split(2), test=make_split(5), source="")
    assert data.classes == 3
