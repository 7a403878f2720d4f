"""Images outside memory: they are what a tensor would be, and are read only when they are asked for."""

import pickle
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from conftest import MadeImages
from robustlab.core.errors import DataError, RobustlabError
from robustlab.data import Digits, ImageSource, Split
from robustlab.data.source import LazyImages

N, SHAPE = 50_000, (50_000, 3, 64, 64)
BOUND = (1 << 24) // (3 * 64 * 64)


def made(n: int = 12, dtype: torch.dtype = torch.uint8, hash_: str = "") -> tuple[MadeImages, Split]:
    source = MadeImages((n, 2, 3, 4), dtype, hash_)
    split = replace(source.split(torch.arange(n) % 3), ids=100 + 10 * torch.arange(n))
    return source, split


@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32])
def test_a_split_of_a_source_is_that_of_the_tensor(dtype: torch.dtype) -> None:
    source, lazy = made(dtype=dtype)
    whole = source.in_memory(lazy)
    for rows in (
        slice(None),
        slice(3, 9, 2),
        torch.tensor([5, 0, 5]),
        lazy.labels == 1,
        torch.tensor([]).long(),
    ):
        for one, other in ((lazy.take(rows), whole.take(rows)), (lazy.take(slice(9)), whole.take(slice(9)))):
            assert len(one) == len(other)
            assert one.images.shape == other.images.shape
            assert one.images.dtype == other.images.dtype == dtype
            assert torch.equal(one.tensor(), other.tensor())
            assert torch.equal(one.pixels(slice(1, None)), other.pixels(slice(1, None)))
            assert one.named("x").to("cpu").sha256() == other.sha256()
        assert torch.equal(lazy.pixels(rows), whole.pixels(rows))


def test_nothing_is_read_before_it_is_asked_for() -> None:
    source = MadeImages(SHAPE)
    split = source.split(torch.arange(N) % 10)
    taken = split.take(split.labels == 3).take(slice(4)).to("cpu").named("other")
    assert len(taken) == 4
    assert source.asked == []
    taken.pixels(torch.tensor([2, 0]))
    assert source.asked == [[23, 3]]
    assert pickle.loads(pickle.dumps(taken)).ids.tolist() == [3, 13, 23, 33]


def test_a_tensor_stays_a_view() -> None:
    whole = made()[1]
    split = replace(whole, images=whole.tensor())
    for part in (split.take(slice(5)), split.take(slice(None)), split.take(slice(1, 99))):
        assert part.tensor().untyped_storage().data_ptr() == split.tensor().untyped_storage().data_ptr()
    assert split.pixels(slice(None)).data_ptr() != split.tensor().data_ptr()


def test_new_pixels_are_never_the_sources_own() -> None:
    class Kept(ImageSource):
        shape, dtype = (3, 1, 2, 2), torch.float32
        images = torch.full((3, 1, 2, 2), 0.5)

        def rows(self, places: Tensor) -> Tensor:
            return self.images[: len(places)]

    source = Kept()
    Split.of(source, torch.zeros(3).long(), name="test").pixels(slice(None)).zero_()
    assert source.images.min() == 0.5


def test_the_hash_is_streamed_in_blocks_and_kept() -> None:
    source = MadeImages((5000, 3, 64, 64))
    split = source.split(torch.arange(5000) % 10)
    found = split.sha256()
    assert [place for call in source.asked for place in call] == list(range(5000))
    assert source.most == BOUND
    source.asked.clear()
    assert split.sha256() == split.take(slice(5000)).sha256() == found
    assert source.asked == []
    assert split.take(slice(40)).sha256() != found


def test_an_image_larger_than_a_block_is_read_alone() -> None:
    source = MadeImages((2, 1, 5000, 4000))
    source.split(torch.zeros(2).long()).sha256()
    assert source.asked == [[0], [1]]


def test_a_source_may_know_its_hash() -> None:
    source, split = made(hash_="one")
    hashes = [split.sha256(), split.take(slice(3)).sha256(), split.take(slice(3, 6)).sha256()]
    hashes += [made(hash_="other")[1].sha256(), replace(split, labels=split.labels + 1).sha256()]
    hashes += [made()[1].sha256(), made(hash_="one", dtype=torch.float32)[1].sha256()]
    assert len(set(hashes)) == len(hashes)
    assert made(hash_="one")[1].sha256() == hashes[0]
    assert source.asked == []


@pytest.mark.parametrize("place", range(12))
def test_another_pixel_is_another_hash(place: int) -> None:
    class Other(MadeImages):
        def rows(self, places: Tensor) -> Tensor:
            images = super().rows(places)
            images[places == place, 1, 2, 3] ^= 1
            return images

    split = made()[1]
    assert replace(split, images=LazyImages.of(Other((12, 2, 3, 4)))).sha256() != split.sha256()


class Faulty(ImageSource):
    """Images of which one is not what it should be."""

    def __init__(self, fault: Tensor | Exception, dtype: torch.dtype = torch.float32) -> None:
        self.shape, self.fault, self.dtype = (9, 1, 2, 2), fault, dtype

    def rows(self, places: Tensor) -> Tensor:
        images = [torch.full((1, 1, 2, 2), 0.25).to(self.dtype) for _ in places]
        if 4 in places:
            if isinstance(self.fault, Exception):
                raise self.fault
            images[places.tolist().index(4)] = self.fault
        return torch.cat(images)


@pytest.mark.parametrize(
    ("fault", "expected"),
    [
        (
            OSError("cannot identify image file 'a.png'"),
            "the images failed: OSError: cannot identify image file 'a.png'",
        ),
        (DataError("a.png is truncated"), "a.png is truncated"),
        (torch.full((1, 1, 2, 2), 3.0), r"must lie in \[0, 1\], found 3 to 3; divide by 255"),
        (torch.full((1, 1, 2, 2), torch.nan), "1 of them contain NaN: images 104$"),
        (torch.zeros(1, 1, 2, 3), "Sizes of tensors must match|promised"),
    ],
)
def test_an_image_that_is_not_one_is_named(fault: Tensor | Exception, expected: str) -> None:
    split = Split.of(Faulty(fault), torch.zeros(9).long(), name="test")
    split = replace(split, ids=100 + torch.arange(9))
    for ask in (lambda: split.pixels(slice(2, None)), split.tensor, split.sha256):
        with pytest.raises(DataError, match=f"^image 104 can't be used: .*({expected})") as caught:
            ask()
        assert "\n" not in str(caught.value)
    assert split.pixels(slice(4)).max() == 0.25


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        (torch.zeros(2, 1, 2, 2), "promised"),
        (torch.zeros(1, 1, 2, 2, dtype=torch.uint8), "promised"),
        (torch.zeros(1, 2, 2), "of shape"),
        ([0.5], "must be a torch.Tensor or a NumPy array"),
        (None, "must be a torch.Tensor or a NumPy array"),
    ],
)
def test_what_a_source_promised_must_hold(rows: Tensor, expected: str) -> None:
    class Other(Faulty):
        def rows(self, places: Tensor) -> Tensor:
            del places
            return rows

    with pytest.raises(DataError, match=f"^image 0 can't be used: .*{expected}"):
        Split.of(Other(rows), torch.zeros(9).long(), name="test").tensor()


@pytest.mark.parametrize("shape", [(), (5, 2, 2), (5, 1, 0, 2)])
def test_a_source_without_a_shape_of_images(shape: tuple[int, ...]) -> None:
    with pytest.raises(DataError, match="must have shape"):
        Split.of(MadeImages(shape), torch.zeros(5).long(), name="test")
    with pytest.raises(DataError, match="dtype uint8 or float32"):
        Split.of(MadeImages((5, 1, 2, 2), torch.float64), torch.zeros(5).long(), name="test")


def test_memory_that_does_not_suffice_is_said_as_it_came() -> None:
    split = Split.of(Faulty(MemoryError()), torch.zeros(9).long(), name="test")
    with pytest.raises(MemoryError):
        split.tensor()


def test_a_dataset_unit_divides_a_source() -> None:
    source = MadeImages((100, 1, 4, 4))
    labels = torch.arange(100) % 10
    parts = Digits().divided(
        (source, labels), (source, labels), validation_fraction=0.2, seed=0, source="made"
    )
    assert (len(parts.train), len(parts.validation), len(parts.test)) == (80, 20, 100)
    assert parts.limited(5, 5, 5).classes == 10 or source.asked == []
    assert source.asked == []
    assert torch.equal(parts.validation.tensor(), source.rows(parts.validation.ids))


class Files(ImageSource):
    """PNG files of one size."""

    def __init__(self, files: list[Path]) -> None:
        self.files = files
        self.shape = (len(files), 3, 6, 5)

    def rows(self, places: Tensor) -> Tensor:
        return torch.stack([self.decoded(self.files[place]) for place in places.tolist()])

    @staticmethod
    def decoded(path: Path) -> Tensor:
        with Image.open(path) as image:
            return torch.from_numpy(np.array(image.convert("RGB"))).permute(2, 0, 1)


def test_a_folder_of_files(tmp_path: Path) -> None:
    drawn = np.random.default_rng(0).integers(0, 256, (8, 6, 5, 3), dtype=np.uint8)
    files = [tmp_path / f"{number}.png" for number in range(8)]
    for path, image in zip(files, drawn, strict=True):
        Image.fromarray(image).save(path)
    split = Split.of(Files(files), torch.arange(8), name="test")
    before = split.sha256()
    assert torch.equal(split.tensor(), torch.from_numpy(drawn).permute(0, 3, 1, 2))
    files[5].write_bytes(files[5].read_bytes()[:60])
    with pytest.raises(RobustlabError, match=r"^image 5 can't be used: .*OSError"):
        split.pixels(slice(None))
    files[6].write_bytes(b"text")
    with pytest.raises(
        RobustlabError, match=r"^image 6 can't be used: .*cannot identify image file .*6\.png"
    ):
        split.pixels(slice(6, None))
    Image.fromarray(drawn[0]).save(files[5])
    Image.fromarray(drawn[6]).save(files[6])
    assert Split.of(Files(files), torch.arange(8), name="test").sha256() != before
