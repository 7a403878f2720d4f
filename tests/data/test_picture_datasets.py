"""Datasets of pictures in files: which files count, what they become, and how much of them is in memory."""

import json
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from picture_folders import Decoding, write_pictures
from PIL import Image
from torch import nn
from torchvision import transforms
from torchvision.datasets import ImageFolder

import robustlab
from robustlab.core.errors import DataError
from robustlab.core.text import file_part
from robustlab.data import Split, load_dataset, load_test
from robustlab.data.pictures import _AHEAD
from robustlab.data.resizing import Resizing


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("ROBUSTLAB_DATA", str(tmp_path / "elsewhere"))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def in_order(split: Split) -> Split:
    return split.take(split.ids.argsort())


def test_a_folder_is_that_of_torchvision(here: Path) -> None:
    write_pictures(here / "photos", ["dog", "cat", "emu"], 5)
    found = load_test("folder(photos)")
    theirs = ImageFolder(str(here / "photos"), transforms.PILToTensor())
    assert found.class_names == tuple(theirs.classes)
    split = in_order(found.split)
    assert split.labels.tolist() == theirs.targets
    assert torch.equal(split.tensor(), torch.stack([image for image, _ in theirs]))
    assert (found.name, len(found.split)) == ("folder(path=photos)", 15)
    assert "photos" in found.source


@pytest.mark.parametrize("size", [(40, 31), (31, 40), (24, 24), (50, 24)])
def test_resize_and_crop_are_those_of_torchvision(here: Path, size: tuple[int, int]) -> None:
    write_pictures(here / "photos", ["a", "b"], 2, size=size)
    theirs = transforms.Compose([transforms.Resize(24), transforms.CenterCrop(20), transforms.PILToTensor()])
    expected = torch.stack([image for image, _ in ImageFolder(str(here / "photos"), theirs)])
    assert torch.equal(in_order(load_test("folder(photos, resize=24, crop=20)").split).tensor(), expected)
    square = transforms.Compose([transforms.Resize((12, 10)), transforms.PILToTensor()])
    expected = torch.stack([image for image, _ in ImageFolder(str(here / "photos"), square)])
    assert torch.equal(in_order(load_test("folder(photos, resize=(12, 10))").split).tensor(), expected)


@pytest.mark.parametrize("size", [(40, 31), (31, 40), (24, 24), (50, 24), (500, 333), (333, 500)])
@pytest.mark.parametrize("resize", [None, 24, 256, (12, 10)])
def test_the_size_is_known_without_decoding(size: tuple[int, int], resize: Any) -> None:
    resizing = Resizing(resize=resize)
    assert resizing.tensor(Image.new("RGB", size)).shape[1:] == resizing.size(*size)


def test_all_kinds_of_pictures_become_colours(here: Path) -> None:
    folder = here / "photos" / "a"
    folder.mkdir(parents=True)
    (here / "photos" / "b").mkdir()
    for mode in ("1", "L", "LA", "P", "RGB", "RGBA", "CMYK"):
        Image.new(mode, (4, 4), 1).save(folder / f"{mode}.{'tif' if mode == 'CMYK' else 'png'}")
    Image.new("P", (4, 4), 1).save(folder / "transparent.png", transparency=b"\0\x7f")
    (folder / ".hidden").write_text("x")
    (folder / "Thumbs.db").write_text("x")
    split = load_test("folder(photos)").split
    assert split.images.shape == (8, 3, 4, 4)
    assert split.tensor().dtype == torch.uint8
    assert load_test("folder(photos, channels=1)").split.tensor().shape == (8, 1, 4, 4)
    Image.fromarray(np.full((4, 4), 40_000, np.uint16)).save(folder / "deep.png")
    with pytest.raises(DataError, match=r"deep\.png: it has the mode I;16; expected .* 8 bits"):
        load_test("folder(photos)").split.tensor()


def test_a_folder_may_have_two_parts(here: Path) -> None:
    write_pictures(here / "photos" / "train", ["a", "b", "c"], 10)
    write_pictures(here / "photos" / "val", ["b", "c"], 4, seed=1)
    data = load_dataset("folder(photos)")
    assert [len(part) for part in (data.train, data.validation, data.test)] == [24, 6, 8]
    assert data.class_names == ("a", "b", "c")
    assert set(data.test.labels.tolist()) == {1, 2}  # numbered as in training
    assert set(data.train.take(slice(9)).labels.tolist()) == {0, 1, 2}
    assert load_test("folder(photos)").split.sha256() == data.test.sha256()
    write_pictures(here / "photos" / "val", ["d"], 1)
    with pytest.raises(DataError, match=r"val/d is not a folder of one of the 3 known classes"):
        load_test("folder(photos)")


def test_the_first_images_are_of_all_classes_and_always_the_same(here: Path) -> None:
    write_pictures(here / "photos", "abcdefgh", 6)
    first, again = (load_test("folder(photos)") for _ in range(2))
    assert len(set(first.split.labels[:16].tolist())) > 4
    assert first.split.ids.tolist() == again.split.ids.tolist() != list(range(48))
    assert "sorted by class" in " ".join(first.remarks)


@pytest.mark.parametrize(
    ("make", "spec", "expected"),
    [
        (lambda _: None, "folder(at)", r"at does not exist; looked for .*/at, .*elsewhere/at"),
        (lambda at: at.mkdir(), "folder(at)", "a folder of pictures for each class.*found none"),
        (lambda at: write_pictures(at, ["a"], 1), "folder(at)", "at least two; found one, 'a'"),
        (lambda at: at.write_text("x"), "folder(at)", "at is a file; expected a folder"),
        (lambda at: [(at / "a").mkdir(parents=True), (at / "b").mkdir()], "folder(at)", "holds no pictures"),
        (lambda at: write_pictures(at / "train", ["a", "b"], 1), "folder(at)", "no folder test or val"),
        (
            lambda at: write_pictures(at, ["a", "b"], 2, size=lambda n: (9 + n, 9)),
            "folder(at)",
            r"different sizes: 000\.png 9x9, 001\.png 10x9 pixels; give crop, or resize=\(height, width\)",
        ),
        (
            lambda at: write_pictures(at, ["a", "b"], 2),
            "folder(at, crop=8)",
            "9x7 pixels, too few for crop=8",
        ),
        (
            lambda at: (write_pictures(at, ["a", "b"], 2) / "b" / "notes.txt").write_text("x"),
            "folder(at)",
            r"notes\.txt is not a picture",
        ),
        (
            lambda at: (write_pictures(at, ["a", "b"], 2) / "b" / "9.png").write_text("x"),
            "folder(at)",
            r"b/9\.png is not a picture, or is broken",
        ),
        (lambda at: write_pictures(at, ["a", "b"], 2), "imagenet(at)", "at/a is not named by a WordNet id"),
        (
            lambda at: write_pictures(at, ["n01440764", "n01443537"], 1),
            "imagenet(at)",
            "found 2 of 1,000 class folders",
        ),
        (lambda at: write_pictures(at, ["fog"], 1), "imagenet_c(at, fgo)", r"no corruption 'fgo'.*'fog'"),
        (lambda at: write_pictures(at, ["fog"], 1), "imagenet_c(at, fog)", "no severity '3'"),
    ],
)
def test_what_cannot_be_used_is_named(here: Path, make: Any, spec: str, expected: str) -> None:
    make(here / "at")
    with pytest.raises(DataError, match=expected):
        load_test(spec)


def test_only_test_images_are_no_training_set(here: Path) -> None:
    write_pictures(here / "photos", ["a", "b"], 2)
    with pytest.raises(DataError, match="has only images to test on"):
        load_dataset("folder(photos)")


def test_a_broken_picture_is_named_when_it_is_read(here: Path) -> None:
    write_pictures(here / "photos", ["a", "b"], 4, size=(60, 60), suffix="jpg")
    broken = here / "photos" / "b" / "002.jpg"
    broken.write_bytes(broken.read_bytes()[:1500])
    split = load_test("folder(photos)").split
    with pytest.raises(DataError, match=r"^image 6 can't be used: .*b/002\.jpg can't be decoded: "):
        split.pixels(slice(None))


@pytest.mark.parametrize("names", ["LOC_synset_mapping.txt", "imagenet_class_index.json"])
def test_imagenet_numbers_classes_by_wordnet_id(here: Path, names: str) -> None:
    ids = [f"n{number:08}" for number in range(0, 100, 10)]
    write_pictures(here / "set" / "val", ids[2:5], 2, size=(300, 260), suffix="JPEG")
    if names.endswith("txt"):
        text = "\n".join(f"{identifier} class {number}, other" for number, identifier in enumerate(ids))
    else:
        text = json.dumps({number: [identifier, f"class {number}"] for number, identifier in enumerate(ids)})
    (here / "set" / names).write_text(text)
    found = load_test("imagenet(set)")
    assert found.class_names == tuple(f"class {number}" for number in range(10))
    assert in_order(found.split).labels.tolist() == [2, 2, 3, 3, 4, 4]
    assert found.split.images.shape == (6, 3, 224, 224)
    (here / "set" / names).write_text("{")
    with pytest.raises(DataError, match=f"{names} can't be read"):
        load_test("imagenet(set)")


def test_all_class_folders_of_imagenet_have_the_usual_names(here: Path) -> None:
    ids = [f"n{number:08}" for number in range(1000)]
    for identifier in ids:
        (here / "val" / identifier).mkdir(parents=True)
    Image.new("RGB", (256, 256)).save(here / "val" / ids[207] / "a.JPEG")
    found = load_test("imagenet(val)")
    assert found.class_names[found.split.labels[0]] == "golden retriever"
    (here / "flat").mkdir()
    (here / "flat" / "ILSVRC2012_val_00000001.JPEG").touch()
    with pytest.raises(
        DataError, match=r"LOC_val_solution\.csv.*or sort them into one folder per WordNet id"
    ):
        load_test("imagenet(flat)")


IDS = [f"n{number:08}" for number in range(1000)]


@pytest.mark.parametrize(
    ("file", "text"),
    [
        (
            "LOC_val_solution.csv",
            "ImageId,PredictionString\n"
            + "\n".join(f"ILSVRC2012_val_{n:08},{IDS[7 * n % 1000]} 85 1 499 272" for n in range(1, 1001)),
        ),
        (
            "imagenet_2012_validation_synset_labels.txt",
            "\n".join(IDS[7 * n % 1000] for n in range(1, 1001)),
        ),
        ("val.txt", "\n".join(f"ILSVRC2012_val_{n:08}.JPEG {7 * n % 1000}" for n in range(1, 1001))),
    ],
    ids=["kaggle", "in order", "caffe"],
)
@pytest.mark.parametrize("above", [0, 1, 3], ids=["beside", "above", "three above"])
def test_photos_in_one_folder_have_the_labels_of_a_file(here: Path, file: str, text: str, above: int) -> None:
    folder = here / "a" / "b" / "c" / "val"
    folder.mkdir(parents=True)
    for number in (2, 30, 9):
        Image.new("RGB", (256, 256)).save(folder / f"ILSVRC2012_val_{number:08}.JPEG")
    place = [folder, *folder.parents][above]
    (place / file).write_text(text)
    found = load_test("imagenet(a/b/c/val)")
    assert in_order(found.split).labels.tolist() == [14, 63, 210]
    assert found.class_names[207] == "golden retriever"
    if above == 1:
        assert len(load_test("imagenet(a/b/c)").split) == 3


@pytest.mark.parametrize(
    ("file", "text", "expected"),
    [
        ("LOC_val_solution.csv", "a,b\n1,2", "can't be read: KeyError"),
        ("LOC_val_solution.csv", "ImageId,PredictionString\nILSVRC2012_val_00000001,", "can't be read"),
        ("val.txt", "ILSVRC2012_val_00000001.JPEG one", "can't be read: ValueError"),
        (
            "val.txt",
            "ILSVRC2012_val_00000001.JPEG 1\nILSVRC2012_val_00000002.JPEG 1000",
            "counts the classes from 1 to 1000",
        ),
        ("val.txt", "ILSVRC2012_val_00000002.JPEG 1", "has no label of ILSVRC2012_val_00000001.JPEG"),
        ("val.txt", "ILSVRC2012_val_00000001.JPEG 1000", "the label 1000 of a photo"),
        ("val.txt", "ILSVRC2012_val_00000001.JPEG -1", "the label -1 of a photo"),
        ("val.txt", "\ufeffILSVRC2012_val_00000001.JPEG 1000", "the label 1000 of a photo"),
        (
            "LOC_val_solution.csv",
            f"ImageId,PredictionString\nILSVRC2012_val_00000001,{IDS[0]} 1",
            "found 1 of",
        ),
    ],
    ids=[
        "columns",
        "no label",
        "word",
        "from one",
        "missing",
        "too large",
        "negative",
        "byte order mark",
        "few classes",
    ],
)
def test_a_wrong_file_of_labels_is_named(here: Path, file: str, text: str, expected: str) -> None:
    (here / "val").mkdir()
    Image.new("RGB", (256, 256)).save(here / "val" / "ILSVRC2012_val_00000001.JPEG")
    (here / file).write_text(text)
    with pytest.raises(DataError, match=expected):
        load_test("imagenet(val)")


def test_imagenet_c_is_read_by_corruption_and_severity(here: Path) -> None:
    ids = ["n01440764", "n01443537"]
    for severity in (2, 3):
        write_pictures(here / "c" / "fog" / str(severity), ids, 2, seed=severity)
    (here / "c" / "LOC_synset_mapping.txt").write_text("\n".join(f"{one} x" for one in ids))
    two, three = (load_test(f"imagenet_c(c, corruption=fog{more})").split for more in (", severity=2", ""))
    assert two.images.shape == (4, 3, 7, 9)
    assert two.sha256() != three.sha256()


# How they are read


def test_pictures_in_order_are_decoded_ahead_and_once(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_pictures(here / "photos", ["a", "b"], 30)
    split = load_test("folder(photos)").split
    whole = split.tensor()
    decoding = Decoding(monkeypatch)
    parts = [split.take(slice(start, start + 10)).tensor() for start in range(0, 60, 10)]
    assert torch.equal(torch.cat(parts), whole)
    assert sorted(decoding.places) == list(range(60))
    decoding.places.clear()
    assert torch.equal(split.take(torch.tensor([9, 2, 40])).tensor(), whole[[9, 2, 40]])
    assert len(decoding.places) == 3  # nobody knows what follows
    copy = pickle.loads(pickle.dumps(split))
    assert torch.equal(copy.tensor(), whole)
    assert copy.sha256() == split.sha256()


def test_the_hash_needs_no_decoding_and_changes_with_any_file(
    here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_pictures(here / "photos", ["a", "b"], 3)
    decoding = Decoding(monkeypatch)
    hashes = {load_test(f"folder(photos{more})").split.sha256() for more in ("", ", resize=5", ", crop=5")}
    Image.new("RGB", (9, 7)).save(here / "photos" / "b" / "001.png")
    hashes.add(load_test("folder(photos)").split.sha256())
    assert len(hashes) == 4
    assert decoding.places == []


def test_an_evaluation_keeps_few_pictures_in_memory(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_pictures(here / "photos", ["a", "b", "c"], 100, size=(224, 224), suffix="jpg")
    decoding = Decoding(monkeypatch)
    torch.manual_seed(0)
    model = nn.Sequential(nn.AvgPool2d(56), nn.Flatten(), nn.Linear(48, 3)).eval()
    run = robustlab.evaluate(
        model, dataset="folder(photos)", n=300, batch_size=16, attacks="fgsm", threat="linf(eps=0.01)",
        checks=False, certify=False, out=here / "run",
    )  # fmt: skip
    assert run.results.images.n == 300
    assert set(decoding.places) == set(range(300))
    assert decoding.most <= 2 * 16 + _AHEAD
    assert run.results.images.name == "folder(path=photos)"


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("mnist", "mnist"),
        ("emnist(split=letters)", "emnist-letters"),
        ("folder(path='/data/my photos/cats', crop=224)", "folder-cats-224"),
        ("hf(path='owner/name')", "hf-name"),
        ("my/own.py:make", "own.py-make"),
        (r"C:\photos\cats", "cats"),
    ],
)
def test_a_spec_as_a_part_of_a_folders_name(text: str, part: str) -> None:
    assert file_part(text) == part
