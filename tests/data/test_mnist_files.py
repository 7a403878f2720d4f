"""MNIST: found, verified, or refused with a reason."""

import gzip
import http.client
import shutil
import tracemalloc
import urllib.error
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import platformdirs
import pytest
import torch

from robustlab.core.errors import DataError
from robustlab.core.files import part_of
from robustlab.data import MNIST, load_dataset, load_test, search_path
from robustlab.data.places import ENVIRONMENT

NAMES = list(MNIST.files)
TRAIN_IMAGES, TRAIN_LABELS, TEST_IMAGES, TEST_LABELS = NAMES


@pytest.fixture
def places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Path]:
    """Empty folders in which MNIST is looked for, in order of precedence."""
    found = {name: tmp_path / name for name in ("data_root", "environment", "here/data", "cache")}
    for folder in found.values():
        folder.mkdir(parents=True)
    monkeypatch.setenv(ENVIRONMENT, str(found["environment"]))
    monkeypatch.chdir(tmp_path / "here")
    monkeypatch.setattr(platformdirs, "user_cache_path", lambda _: found["cache"])
    return found


@pytest.fixture
def no_network(monkeypatch: pytest.MonkeyPatch) -> Callable[[Exception], None]:
    """Makes torchvision's download fail."""
    from torchvision import datasets

    def fail_with(error: Exception) -> None:
        def download(_: object) -> None:
            raise error

        monkeypatch.setattr(datasets.MNIST, "download", download)

    fail_with(RuntimeError("no network here"))
    return fail_with


def raw(root: Path) -> Path:
    folder = root / "MNIST" / "raw"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def make_up(root: Path, **sizes: int | None) -> None:
    """Write four files of the official sizes (sparse, all zeros), or of other sizes; None leaves one out."""
    for name, (_, official) in MNIST.files.items():
        size = sizes.get(name.split("-ubyte")[0].replace("-", "_"), official)
        if size is not None:
            with (raw(root) / name).open("wb") as file:
                file.truncate(size)


# Where it is looked for


def test_the_order_of_the_search(places: dict[str, Path]) -> None:
    order = list(places.values())
    found = search_path(places["data_root"])
    assert [place.resolve() for place in found] == [place.resolve() for place in order]
    assert MNIST().find(places["data_root"]) is None
    for place in reversed(order):  # from the last place to the first, each takes over
        (raw(place) / (TEST_LABELS + ".gz")).touch()
        root = MNIST().find(places["data_root"])
        assert root is not None
        assert root.resolve() == place.resolve()
    without = MNIST().find()
    assert without is not None
    assert without.resolve() == places["environment"].resolve()


def test_places_that_are_not_given_are_left_out(
    places: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(ENVIRONMENT, "")
    assert search_path() == [Path("data"), places["cache"]]
    monkeypatch.delenv(ENVIRONMENT)
    assert search_path(Path("~/sets"))[0] == Path.home() / "sets"


def test_other_files_are_no_mnist(places: dict[str, Path]) -> None:
    (raw(places["data_root"]) / "README").touch()
    (raw(places["environment"]) / TRAIN_IMAGES).mkdir()
    assert MNIST().find(places["data_root"]) is None


# When it is nowhere


def test_mnist_that_is_nowhere_is_an_error_with_instructions(
    places: dict[str, Path], no_network: Callable[[Exception], None]
) -> None:
    del no_network
    for download, reason in ((False, "downloading was not allowed"), (True, "no network here")):
        with pytest.raises(DataError) as caught:
            load_dataset("mnist", data_root=places["data_root"], download=download)
        message = str(caught.value)
        assert reason in message
        for place in search_path(places["data_root"]):
            assert str(place / "MNIST" / "raw") in message
        for name in (*NAMES, "--data-root", ENVIRONMENT):
            assert name in message


@pytest.mark.parametrize(
    "error",
    [
        RuntimeError("Error downloading train-images"),
        urllib.error.URLError("name resolution failed"),
        TimeoutError("timed out"),
        PermissionError("permission denied"),
        EOFError("compressed file ended"),
        zlib.error("invalid block type"),
        http.client.IncompleteRead(b"half"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_auto_falls_back_on_the_digits_and_says_why(
    places: dict[str, Path], no_network: Callable[[Exception], None], error: Exception
) -> None:
    del places
    no_network(error)
    data = load_dataset("auto")
    assert data.name == "digits"
    assert "MNIST was not found and downloading to" in data.fallback
    assert str(error) in data.fallback
    assert load_dataset("digits").fallback == ""


# When its files are damaged


@pytest.mark.parametrize(
    ("sizes", "message"),
    [
        ({"train_images_idx3": 1000}, r"train-images-idx3-ubyte is truncated \(1,000 of 47,040,016 bytes\)"),
        ({"t10k_labels_idx1": 10_009}, r"t10k-labels-idx1-ubyte is too long \(10,009 of 10,008 bytes\)"),
        ({"train_labels_idx1": 0}, r"train-labels-idx1-ubyte is truncated \(0 of 60,008 bytes\)"),
        ({"t10k_images_idx3": None}, "t10k-images-idx3-ubyte is missing"),
        (
            {},
            r"t10k-labels-idx1-ubyte was altered \(MD5 [0-9a-f]{32}, official 27ae3e4e09519cfbb04c",
        ),
    ],
)
@pytest.mark.parametrize("name", ["auto", "mnist"])
def test_damaged_files_are_never_passed_over(
    places: dict[str, Path],
    no_network: Callable[[Exception], None],
    name: str,
    sizes: dict[str, int | None],
    message: str,
) -> None:
    del no_network
    make_up(places["environment"], **sizes)
    with pytest.raises(DataError, match=message) as caught:
        load_dataset(name)
    assert str(raw(places["environment"])) in str(caught.value)


def test_every_damaged_file_is_named(places: dict[str, Path]) -> None:
    make_up(places["data_root"], train_images_idx3=1, train_labels_idx1=None, t10k_images_idx3=2)
    with pytest.raises(DataError) as caught:
        MNIST().verify(places["data_root"])
    for name in NAMES:
        assert str(caught.value).count(name) == 1


def compressed(content: bytes, how: str) -> bytes:
    good = gzip.compress(content)
    return {
        "truncated": good[: len(good) // 2],
        "empty": b"",
        "no gzip": content,
        "flipped": good[:12] + bytes(byte ^ 0xFF for byte in good[12:40]) + good[40:],
        "wrong checksum": good[:-8] + bytes(8),
    }[how]


@pytest.mark.parametrize("how", ["truncated", "no gzip", "flipped", "wrong checksum"])
def test_a_corrupt_gz_is_named_and_leaves_nothing(places: dict[str, Path], how: str) -> None:
    folder = raw(places["data_root"])
    content = bytes(np.random.default_rng(0).integers(0, 200, 10_008, dtype=np.uint8))
    packed = folder / f"{TEST_LABELS}.gz"
    packed.write_bytes(compressed(content, how))
    with pytest.raises(DataError, match="can't be unpacked") as caught:
        load_dataset("auto", data_root=places["data_root"])
    assert str(packed) in str(caught.value)
    assert list(folder.iterdir()) == [packed]


def test_a_gz_is_not_unpacked_through_a_link(places: dict[str, Path], tmp_path: Path) -> None:
    folder, foreign = raw(places["data_root"]), tmp_path / "foreign"
    foreign.write_text("mine")
    (folder / f"{TEST_LABELS}.gz").write_bytes(gzip.compress(b"cats"))
    part_of(folder / TEST_LABELS).symlink_to(foreign)
    with pytest.raises(DataError):
        load_dataset("mnist", data_root=places["data_root"])
    assert foreign.read_text() == "mine"


def test_an_empty_gz_is_named(places: dict[str, Path]) -> None:
    (raw(places["data_root"]) / f"{TEST_LABELS}.gz").touch()
    with pytest.raises(DataError, match=TEST_LABELS):
        load_dataset("mnist", data_root=places["data_root"])


def test_a_gz_of_something_else_is_named(places: dict[str, Path]) -> None:
    make_up(places["data_root"], t10k_labels_idx1=None)
    (raw(places["data_root"]) / f"{TEST_LABELS}.gz").write_bytes(gzip.compress(b"cats"))
    with pytest.raises(
        DataError, match=rf"{TEST_LABELS}\.gz .*does not hold the official file of 10,008 bytes"
    ):
        load_dataset("mnist", data_root=places["data_root"])


def test_a_gz_that_unpacks_to_too_much_costs_no_memory_and_leaves_nothing(places: dict[str, Path]) -> None:
    folder = raw(places["data_root"])
    packed = folder / f"{TEST_LABELS}.gz"
    with gzip.open(packed, "wb", compresslevel=1) as file:
        for _ in range(64):
            file.write(bytes(1_000_000))
    tracemalloc.start()
    try:
        with pytest.raises(DataError, match="does not hold the official file of 10,008 bytes"):
            load_dataset("mnist", data_root=places["data_root"])
        assert tracemalloc.get_traced_memory()[1] < 5_000_000
    finally:
        tracemalloc.stop()
    assert list(folder.iterdir()) == [packed]


# The real files


def linked(source: Path, target: Path, *, without: str | None = None) -> Path:
    """Put links to the real files into a folder."""
    for name in NAMES:
        if name != without:
            (raw(target) / name).symlink_to((source / "MNIST" / "raw" / name).resolve())
    return target


@pytest.mark.mnist
def test_the_real_files(mnist_root: Path) -> None:
    data = load_dataset("mnist", data_root=mnist_root)
    assert data.name == "mnist"
    assert data.fallback == ""
    assert data.classes == 10
    assert [len(s) for s in (data.train, data.validation, data.test)] == [48_000, 12_000, 10_000]
    for split in (data.train, data.validation, data.test):
        assert split.images.shape[1:] == (1, 28, 28)
        assert split.images.dtype == torch.uint8
        assert split.labels.dtype == split.ids.dtype == torch.int64
    ids = torch.cat([data.train.ids, data.validation.ids])
    assert torch.equal(ids.sort().values, torch.arange(60_000))
    assert torch.equal(data.test.ids, torch.arange(10_000))
    # The class counts as published, and every image as the file has it, read here byte by byte.
    assert torch.bincount(data.test.labels).tolist() == [
        980,
        1135,
        1032,
        1010,
        982,
        892,
        958,
        1028,
        974,
        1009,
    ]
    for splits, images, labels in (
        ((data.train, data.validation), TRAIN_IMAGES, TRAIN_LABELS),
        ((data.test,), TEST_IMAGES, TEST_LABELS),
    ):
        pixels = np.fromfile(raw(mnist_root) / images, dtype=np.uint8)[16:].reshape(-1, 1, 28, 28)
        classes = np.fromfile(raw(mnist_root) / labels, dtype=np.uint8)[8:]
        for split in splits:
            assert np.array_equal(split.tensor().numpy(), pixels[split.ids.numpy()])
            assert np.array_equal(split.labels.numpy(), classes[split.ids.numpy()])


FROZEN_TEST_SHA256 = "3da946c81e5c9858a982f1aeb8a8efe9e7adcb442ca44f43c7be982edcb0aa6a"
FROZEN_VALIDATION_SHA256 = "98a0854b4d663c3fd3a8401b9e7dcc3d2ddd5e9a539094788fc7d15867b97ece"


@pytest.mark.mnist
def test_the_split_is_seeded_and_keeps_the_test_set(mnist_root: Path) -> None:
    data = [load_dataset("auto", data_root=mnist_root, seed=seed) for seed in (0, 1)]
    again = load_dataset("mnist", data_root=mnist_root, seed=0)
    assert again.train.sha256() == data[0].train.sha256()
    assert data[1].train.sha256() != data[0].train.sha256()
    assert data[1].test.sha256() == data[0].test.sha256() == FROZEN_TEST_SHA256
    assert data[0].validation.sha256() == FROZEN_VALIDATION_SHA256


@pytest.mark.mnist
@pytest.mark.parametrize("damage", ["altered", "truncated", "too long"])
def test_one_damaged_real_file_is_named(mnist_root: Path, places: dict[str, Path], damage: str) -> None:
    root = linked(mnist_root, places["data_root"], without=TRAIN_LABELS)
    content = bytearray((raw(mnist_root) / TRAIN_LABELS).read_bytes())
    if damage == "altered":
        content[30_000] ^= 1
    content = {"truncated": content[:-1], "too long": content + b"\0", "altered": content}[damage]
    (raw(root) / TRAIN_LABELS).write_bytes(content)
    with pytest.raises(DataError) as caught:
        load_dataset("auto", data_root=root)
    assert f"{TRAIN_LABELS} {'was' if damage == 'altered' else 'is'} {damage}" in str(caught.value)
    assert TRAIN_IMAGES not in str(caught.value)


@pytest.mark.mnist
def test_compressed_files_are_unpacked(mnist_root: Path, places: dict[str, Path]) -> None:
    root = linked(mnist_root, places["data_root"], without=TEST_LABELS)
    original = (raw(mnist_root) / TEST_LABELS).read_bytes()
    (raw(root) / f"{TEST_LABELS}.gz").write_bytes(gzip.compress(original))
    assert load_dataset("mnist", data_root=root).test.labels[:5].tolist() == [7, 2, 1, 0, 4]
    assert (raw(root) / TEST_LABELS).read_bytes() == original


@pytest.mark.mnist
@pytest.mark.parametrize("given_root", [True, False])
def test_a_download_is_used_at_once(
    mnist_root: Path, places: dict[str, Path], monkeypatch: pytest.MonkeyPatch, given_root: bool
) -> None:
    from torchvision import datasets

    def download(dataset: object) -> None:
        folder = Path(dataset.root) / "MNIST" / "raw"  # type: ignore[attr-defined]
        shutil.copytree(raw(mnist_root), folder)

    monkeypatch.setattr(datasets.MNIST, "download", download)
    data = load_dataset("auto", data_root=places["data_root"] if given_root else None)
    assert data.name == "mnist"
    assert MNIST().find() == (None if given_root else places["cache"])


def test_the_test_split_alone_falls_back_too(
    places: dict[str, Path], no_network: Callable[[Exception], None]
) -> None:
    del no_network
    found = load_test("auto")
    assert (found.name, len(found.split)) == ("digits", 359)
    assert "MNIST was not found" in found.fallback
    make_up(places["environment"], t10k_images_idx3=3)
    with pytest.raises(DataError, match="t10k-images-idx3-ubyte is truncated"):
        load_test("auto")
