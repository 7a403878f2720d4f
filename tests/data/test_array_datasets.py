"""Datasets in NumPy files and in tables of Hugging Face."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from robustlab.core.errors import DataError, SetupError
from robustlab.data import load_dataset, load_test

DRAW = np.random.default_rng(0)
COLOURS = DRAW.integers(0, 256, (12, 5, 4, 3), dtype=np.uint8)
LABELS = np.arange(12) % 3


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("ROBUSTLAB_DATA", str(tmp_path / "elsewhere"))
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    "names", [("x", "y"), ("images", "labels"), ("x_test", "y_test"), ("test_images", "test_labels"), None]
)
@pytest.mark.parametrize("labels", [LABELS, LABELS.astype(np.int32), LABELS[:, None], LABELS.astype(float)])
def test_the_names_of_arrays(here: Path, names: tuple[str, str] | None, labels: Any) -> None:
    if names:
        np.savez(here / "a.npz", **dict(zip(names, (COLOURS, labels), strict=True)))
    else:
        np.savez(here / "a.npz", COLOURS, labels)
    found = load_test("npz(a.npz)")
    assert found.name == "npz(path='a.npz')"
    assert found.split.labels.tolist() == LABELS.tolist()
    assert torch.equal(found.split.tensor(), torch.from_numpy(COLOURS).permute(0, 3, 1, 2))


@pytest.mark.parametrize(
    ("images", "kept"),
    [
        (COLOURS.transpose(0, 3, 1, 2), torch.uint8),
        (COLOURS.astype(np.int64), torch.uint8),
        (COLOURS.astype(np.float32), torch.uint8),
        (COLOURS / 255, torch.float32),
        ((COLOURS / 255).astype(np.float16), torch.float32),
    ],
)
def test_the_forms_of_images(here: Path, images: Any, kept: torch.dtype) -> None:
    np.savez(here / "a.npz", x=images, y=LABELS)
    found = load_test("npz(a.npz)")
    expected = torch.from_numpy(COLOURS).permute(0, 3, 1, 2) / 255
    assert found.split.images.dtype == kept
    assert torch.allclose(found.split.pixels(slice(None)), expected, atol=1e-3)
    assert any("255 is taken as white" in remark for remark in found.remarks) == (
        kept == torch.uint8 and images.dtype != np.uint8
    )


def test_grey_images_and_masks(here: Path) -> None:
    np.savez(here / "a.npz", x=COLOURS[..., 0], y=LABELS)
    assert load_test("npz(a.npz)").split.images.shape == (12, 1, 5, 4)
    np.savez(here / "a.npz", x=COLOURS[..., 0] > 99, y=LABELS)
    assert set(load_test("npz(a.npz)").split.tensor().flatten().tolist()) == {0, 255}


def test_a_file_with_a_training_part_can_be_trained_on(here: Path) -> None:
    np.savez(here / "a.npz", x_train=COLOURS, y_train=LABELS, x_test=COLOURS[:4], y_test=LABELS[:4])
    data = load_dataset("npz(a.npz)", validation_fraction=0.25)
    assert [len(part) for part in (data.train, data.validation, data.test)] == [9, 3, 4]
    np.savez(here / "a.npz", x_train=COLOURS, y_train=LABELS, x_test=COLOURS[:4, 1:], y_test=LABELS[:4])
    with pytest.raises(DataError, match=r"training images are \(3, 5, 4\) .* test images \(3, 4, 4\)"):
        load_dataset("npz(a.npz)")
    np.savez(here / "a.npz", x=COLOURS, y=LABELS)
    with pytest.raises(DataError, match="only images to test on"):
        load_dataset("npz(a.npz)")


def test_images_sorted_by_class_are_mixed(here: Path) -> None:
    np.savez(here / "a.npz", x=COLOURS, y=np.sort(LABELS))
    found = load_test("npz(a.npz)")
    assert found.split.ids.tolist() != list(range(12))
    assert torch.equal(found.split.tensor().permute(0, 2, 3, 1), torch.from_numpy(COLOURS)[found.split.ids])


@pytest.mark.parametrize(
    ("arrays", "expected"),
    [
        ({"foo": LABELS}, "must hold the arrays x_test and y_test, .*found foo"),
        ({"x": COLOURS}, "must hold the arrays"),
        ({"x": COLOURS[0, 0], "y": LABELS}, r"x in a\.npz: images must have shape .* found \(4, 3\)"),
        ({"x": np.zeros((4, 5, 6, 7)), "y": LABELS[:4]}, r"1 or 3 channels, found \(4, 5, 6, 7\)"),
        ({"x": COLOURS.astype(str), "y": LABELS}, "images must be numbers"),
        ({"x": COLOURS * 0.99, "y": LABELS}, r"images must lie in \[0, 1\].*divide by 255"),
        ({"x": COLOURS - 9.0, "y": LABELS}, "normalise inside the model"),
        ({"x": COLOURS, "y": np.eye(3)[LABELS]}, r"y in a\.npz: labels must be .* take argmax\(1\)"),
        ({"x": COLOURS, "y": LABELS[:5]}, r"labels must be integers of shape \(12,\)"),
        ({"x": COLOURS, "y": LABELS - 1}, "labels must not be negative"),
        ({"x": np.array([None, 1]), "y": LABELS}, "Python objects are not read"),
    ],
)
def test_other_arrays_are_refused(here: Path, arrays: dict[str, Any], expected: str) -> None:
    np.savez(here / "a.npz", **arrays)
    with pytest.raises(DataError, match=expected):
        load_test("npz(a.npz)")


def test_other_files_are_refused(here: Path) -> None:
    (here / "a.npz").write_text("text")
    with pytest.raises(DataError, match=r"a\.npz is not an \.npz file"):
        load_test("npz(a.npz)")
    np.save(here / "b.npy", COLOURS)
    with pytest.raises(DataError, match="holds one array"):
        load_test("npz(b.npy)")
    with pytest.raises(DataError, match=r"c\.npz does not exist; looked for"):
        load_test("npz(c.npz)")


# Corruptions


def test_cifar10_c_has_five_severities_in_a_file(here: Path) -> None:
    images = DRAW.integers(0, 256, (20, 32, 32, 3), dtype=np.uint8)
    np.save(here / "fog.npy", images)
    np.save(here / "labels.npy", np.tile([0, 1, 2, 9], 5))
    for severity in range(1, 6):
        found = load_test(f"cifar10_c('.', corruption=fog, severity={severity})")
        rows = slice(4 * severity - 4, 4 * severity)
        assert torch.equal(found.split.tensor().permute(0, 2, 3, 1), torch.from_numpy(images[rows]))
        assert found.split.labels.tolist() == [0, 1, 2, 9]
    assert found.class_names[9] == "truck"
    for spec, expected in (
        ("cifar10_c('.', snow)", r"no corruption 'snow'; accepted: fog"),
        ("cifar10_c('.', fog, severity=6)", "severity"),
    ):
        with pytest.raises(DataError, match=expected):
            load_test(spec)
    np.save(here / "labels.npy", np.zeros(19, np.int64))
    with pytest.raises(DataError, match="five severities of equally many images"):
        load_test("cifar10_c('.', fog)")
    (here / "labels.npy").write_text("text")
    with pytest.raises(DataError, match=r"labels\.npy"):
        load_test("cifar10_c('.', fog)")


def test_mnist_c_has_both_parts(here: Path) -> None:
    folder = here / "mnist_c" / "fog"
    folder.mkdir(parents=True)
    images = DRAW.integers(0, 256, (20, 28, 28, 1), dtype=np.uint8)
    for part in ("train", "test"):
        np.save(folder / f"{part}_images.npy", images)
        np.save(folder / f"{part}_labels.npy", np.arange(20) % 10)
    data = load_dataset("mnist_c(mnist_c, corruption=fog)")
    assert [len(part) for part in (data.train, data.validation, data.test)] == [16, 4, 20]
    assert torch.equal(data.test.tensor()[:, 0], torch.from_numpy(images[..., 0]))
    (folder / "test_labels.npy").unlink()
    with pytest.raises(DataError, match=r"test_labels\.npy does not exist"):
        load_test("mnist_c(mnist_c, corruption=fog)")


# Hugging Face


@pytest.fixture
def saved(here: Path) -> Path:
    datasets = pytest.importorskip("datasets")
    kinds = (datasets.Image(), datasets.ClassLabel(names=["a", "b", "c"]), datasets.Value("int64"))
    features = datasets.Features(dict(zip(("picture", "kind", "n"), kinds, strict=True)))
    pictures = [Image.fromarray(image) for image in COLOURS]
    rows = {"picture": pictures, "kind": LABELS.tolist(), "n": LABELS.tolist()}
    table = datasets.Dataset.from_dict(rows, features=features)
    datasets.DatasetDict({"train": table, "validation": table.select(range(6))}).save_to_disk(here / "set")
    table.save_to_disk(here / "one")
    return here


@pytest.mark.usefixtures("saved")
def test_a_saved_table_of_hugging_face() -> None:
    found = load_test("hf(set)")
    assert found.class_names == ("a", "b", "c")
    assert found.split.labels.tolist() == LABELS[:6].tolist()
    assert torch.equal(found.split.tensor().permute(0, 2, 3, 1), torch.from_numpy(COLOURS[:6]))
    assert "split validation, columns picture and kind" in found.source
    data = load_dataset("hf(set, label=n)")
    assert len(data.train) + len(data.validation) == 12
    assert data.class_names == ()
    assert len(load_test("hf(one, channels=1, resize=(3, 3))").split.tensor()) == 12
    assert load_test("hf(one)").split.sha256() != load_test("hf(one, resize=9)").split.sha256()
    assert load_test("hf(one)").split.sha256() == load_test("hf(one)").split.sha256()


@pytest.mark.usefixtures("saved")
@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        ("hf(set, split=tset)", "no split tset; accepted: train, validation"),
        ("hf(set, image=pictur)", r"no column 'pictur' \(did you mean 'picture'\?\)"),
        ("hf(set, image=n)", "the column n holds a Value, not pictures"),
        ("hf(set, label=picture)", "column picture"),
        ("hf(elsewhere)", "elsewhere can't be loaded from the Hugging Face hub"),
        ("hf('.')", "can't be loaded from"),
        ("hf(.)", r"can't parse dataset 'hf\(\.\)'; put a path .* in quotes"),
    ],
)
def test_what_a_table_lacks_is_named(spec: str, expected: str, monkeypatch: pytest.MonkeyPatch) -> None:
    import datasets

    def offline(*_: object, **__: object) -> None:
        raise ConnectionError("no network here")

    monkeypatch.setattr(datasets, "get_dataset_split_names", offline)
    with pytest.raises(DataError, match=expected):
        load_test(spec)


def test_without_the_package_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "datasets", None)
    with pytest.raises(SetupError, match=r"pip install 'robustlab\[hf\]'"):
        load_test("hf(owner/name)")
