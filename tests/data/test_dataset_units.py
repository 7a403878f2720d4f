"""Every dataset: one file, found in the registry by all who name datasets, and verified before use."""

import ast
import inspect
import io
import os
import pickle
import re
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from official_files import FILE_DATASETS, IDX, make_up
from PIL import Image
from scipy.io import loadmat
from typer.testing import CliRunner

import robustlab
from robustlab.cli.main import app
from robustlab.core import spec
from robustlab.core.errors import DataError, SetupError
from robustlab.core.spec import register, units
from robustlab.data import CIFAR10, Dataset, Split, Splits, load_dataset, load_test
from robustlab.data.emnist import EMNIST
from robustlab.data.files import FileDataset
from robustlab.evaluation.preprocessing import statistics


@pytest.fixture
def nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("ROBUSTLAB_DATA", str(tmp_path / "environment"))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("platformdirs.user_cache_path", lambda _: tmp_path / "cache")
    return tmp_path / "data"


def first_test_image(unit: type[FileDataset], contents: dict[str, bytes]) -> Any:
    """The first image (C, H, W) of the test part, read here byte by byte."""
    name = unit().names(train=False)[0]
    content = contents[name]
    match unit.name:
        case "svhn":
            return loadmat(io.BytesIO(content))["X"][..., 0].transpose(2, 0, 1)
        case "stl10":
            return np.frombuffer(content, np.uint8)[: 3 * 96 * 96].reshape(3, 96, 96).transpose(0, 2, 1)
        case "gtsrb":
            with zipfile.ZipFile(io.BytesIO(content)) as archive:
                photo = archive.read("GTSRB/Final_Test/Images/00000.ppm")
            return np.array(Image.open(io.BytesIO(photo))).transpose(2, 0, 1)
        case "cifar10" | "cifar100":
            return pickle.loads(content)["data"][0].reshape(3, 32, 32)
    return np.frombuffer(content, np.uint8)[16:800].reshape(1, 28, 28)


@pytest.mark.parametrize("unit", FILE_DATASETS, ids=lambda unit: unit.name)
def test_archives_are_unpacked_verified_and_read(
    unit: type[FileDataset], nowhere: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    contents = make_up(unit, nowhere, monkeypatch)
    assert unit().state(nowhere).startswith(f"{nowhere / unit.folder}, verified")  # from archives alone
    data = load_dataset(unit.name, data_root=nowhere, download=False)
    assert data.name == unit.name
    assert data.class_names == unit().classes()
    assert len(set(data.class_names)) == data.classes
    channels = data.train.images.shape[1]
    assert {len(unit.mean), len(unit.std)} in ({channels}, {0})
    assert statistics().get(unit.name, ((), ())) == (unit.mean, unit.std)
    for name, content in contents.items():
        assert (nowhere / unit.folder / name).read_bytes() == content
    whole = sum(len(split) for split in (data.train, data.validation))
    assert torch.cat([data.train.ids, data.validation.ids]).sort().values.equal(torch.arange(whole))
    assert data.train.images.dtype == torch.uint8
    assert np.array_equal(data.test.tensor()[0].numpy(), first_test_image(unit, contents))
    state = unit().state(nowhere)
    assert state.startswith(f"{nowhere / unit.folder}, verified")
    assert ("; of " in state and "only the size" in state) == any(not md5 for md5, _ in unit.files.values())


@pytest.mark.parametrize("unit", FILE_DATASETS, ids=lambda unit: unit.name)
def test_the_test_part_needs_only_its_own_files(
    unit: type[FileDataset], nowhere: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    contents = make_up(unit, nowhere, monkeypatch)
    whole = load_dataset(unit.name, data_root=nowhere, download=False)
    for name in unit().names(train=True):
        (nowhere / unit.folder / name).unlink()
        (nowhere / unit.folder / f"{name}.gz").unlink(missing_ok=True)
    for name in unit.archives if unit not in IDX else ():
        (nowhere / unit.folder / name).unlink()
    test = load_test(unit.name, data_root=nowhere, download=False)
    assert test.split.sha256() == whole.test.sha256()
    assert (test.name, test.class_names, test.fallback) == (unit.name, whole.class_names, "")
    assert test.source == whole.source
    with pytest.raises(DataError, match="is missing"):
        load_dataset(unit.name, data_root=nowhere, download=False)
    assert contents.keys() == {*unit().names(train=True), *unit().names(train=False)}


@pytest.mark.parametrize("unit", FILE_DATASETS, ids=lambda unit: unit.name)
@pytest.mark.parametrize("damage", ["archive", "file"])
def test_what_is_damaged_is_named(
    unit: type[FileDataset], damage: str, nowhere: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_up(unit, nowhere, monkeypatch)
    if damage == "file":
        load_dataset(unit.name, data_root=nowhere)
        name = unit().names(train=True)[-1]
        path = nowhere / unit.folder / name
        if not unit.files[name][0]:
            path.write_bytes(path.read_bytes()[:-1])  # only its size is known
    else:
        path = nowhere / unit.folder / next(iter(unit.archives or unit.files))
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    with pytest.raises(DataError, match=path.name):
        load_dataset(unit.name, data_root=nowhere)
    if damage == "file":
        with pytest.raises(DataError, match=path.name):
            unit().state(nowhere)


@pytest.mark.parametrize("unit", FILE_DATASETS, ids=lambda unit: unit.name)
def test_what_is_nowhere_says_where_it_was_looked_for(unit: type[FileDataset], nowhere: Path) -> None:
    with pytest.raises(DataError) as caught:
        load_dataset(unit.name, data_root=nowhere, download=False)
    files = unit().names(train=True) + unit().names(train=False)
    for part in (*files, *unit.archives, str(nowhere / unit.folder), "--data-root", "ROBUSTLAB_DATA"):
        assert part in str(caught.value)
    assert f"into the folder {Path('DIR', unit.folder)}, then pass" in str(caught.value)
    assert "downloaded when needed" in unit().state(nowhere)


@pytest.mark.parametrize("unit", FILE_DATASETS, ids=lambda unit: unit.name)
def test_the_hashes_are_those_of_torchvision(unit: type[FileDataset]) -> None:
    from torchvision import datasets

    known: Any = getattr(datasets, unit.__name__)
    match unit.name:
        case "cifar10" | "cifar100":
            listed = [*known.train_list, *known.test_list, [known.meta["filename"], known.meta["md5"]]]
            assert files_of(unit) == {f"{known.base_folder}/{name}": digest for name, digest in listed}
            assert unit.archives == {known.filename: known.tgz_md5}
        case "svhn":
            assert files_of(unit) == {
                name: md5 for _, name, md5 in map(known.split_list.get, ("train", "test"))
            }
        case "stl10":
            listed = [*known.train_list[:2], *known.test_list]
            assert files_of(unit) == {f"{known.base_folder}/{name}": digest for name, digest in listed}
            assert unit.archives == {known.filename: known.tgz_md5}
        case "gtsrb":
            source = inspect.getsource(known)
            assert all(name in source and digest in source for name, digest in files_of(unit).items())
        case "emnist":
            assert unit.archives == {"gzip.zip": known.md5}
            for split in known.splits:
                dataset = EMNIST(split=split)
                assert list(dataset.classes()) == known.classes_split_dict[split]
                assert dataset.names(train=True)[0] == f"emnist-{split}-train-images-idx3-ubyte"
        case _:
            assert unit.archives == dict(known.resources)


def files_of(unit: type[FileDataset]) -> dict[str, str]:
    return {name: digest for name, (digest, _) in unit.files.items()}


@pytest.mark.parametrize("unit", FILE_DATASETS, ids=lambda unit: unit.name)
def test_the_normalisation_is_that_of_the_training_images(unit: type[FileDataset]) -> None:
    dataset = unit()
    if dataset.find() is None or not unit.mean:
        pytest.skip(f"{unit.name} is on no disk here; set ROBUSTLAB_DATA")
    splits = load_dataset(unit.name)
    images = torch.cat([splits.train.tensor(), splits.validation.tensor()]).float().div_(255)
    assert images.mean(dim=(0, 2, 3)).tolist() == pytest.approx(unit.mean, abs=2e-4)
    assert images.std(dim=(0, 2, 3)).tolist() == pytest.approx(unit.std, abs=5e-4)


@pytest.fixture
def stripes() -> Iterator[None]:
    @register("stripes")
    class Stripes(Dataset):
        """What another package may register: stripes across or along."""

        class_names = ("across", "along")
        mean, std = (0.5,), (0.5,)

        def load(self, *, data_root: Any, validation_fraction: float, seed: int, download: bool) -> Splits:
            del data_root, download
            images = torch.zeros(40, 1, 8, 8)
            images[::2, :, ::2], images[1::2, :, :, ::2] = 1, 1
            both = images, torch.arange(40) % 2
            return self.divided(
                both, both, validation_fraction=validation_fraction, seed=seed, source="drawn"
            )

    yield
    spec._registry[Dataset].pop("stripes")


@pytest.mark.usefixtures("stripes")
def test_one_unit_is_all_that_a_dataset_needs(tmp_path: Path) -> None:
    model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 2)).eval()
    run = robustlab.evaluate(model, dataset="stripes", n=6, attacks="fgsm", out=tmp_path)
    assert run.results.images.name == "stripes"
    found = CliRunner().invoke(app, ["ls", "datasets"]).output
    assert "stripes" in found
    assert "stripes across or along" in found
    with pytest.raises(DataError, match=r"unknown dataset 'strips' \(did you mean 'stripes'\?\)"):
        load_dataset("strips")


NEW_FILE = '''"""Dots."""
import torch

from robustlab.core import register
from robustlab.data.base import Dataset


@register("dots")
class Dots(Dataset):
    """Dots on the left or on the right."""

    mean, std = (0.25,), (0.5,)

    def load(self, *, data_root, validation_fraction, seed, download):
        images = torch.zeros(40, 1, 4, 4)
        images[::2, :, :, 0], images[1::2, :, :, 3] = 1, 1
        both = images, torch.arange(40) % 2
        return self.divided(both, both, validation_fraction=validation_fraction, seed=seed, source="drawn")
'''
USE = """
import robustlab
from robustlab.evaluation.preprocessing import statistics
print(len(robustlab.load_dataset("dots").test), statistics()["dots"])
try:
    robustlab.load_dataset("dost")
except robustlab.RobustlabError as error:
    print(error)
"""


def test_one_new_file_is_all_that_a_dataset_needs(tmp_path: Path) -> None:
    shutil.copytree(Path(robustlab.__file__).parent, tmp_path / "robustlab")
    (tmp_path / "robustlab" / "data" / "dots.py").write_text(NEW_FILE)
    environment = {**os.environ, "PYTHONPATH": str(tmp_path), "XDG_CACHE_HOME": str(tmp_path / "cache")}
    printed = [
        subprocess.run(
            [sys.executable, *words],
            capture_output=True,
            text=True,
            check=True,
            env=environment,
            cwd=tmp_path,
        ).stdout
        for words in (["-c", USE], ["-m", "robustlab", "ls", "datasets"])
    ]
    assert printed[0].startswith("40 ((0.25,), (0.5,))\nunknown dataset 'dost' (did you mean 'dots'?); acc")
    assert "dots" in printed[0].partition("accepted: ")[2]
    assert "Dots on the left or on the right." in printed[1]


SOURCES = Path(robustlab.__file__).parent
MAY_NAME = {"options.py", "training_options.py", "cli/examples.py", "core/aliases.py"}
MAY_NAME |= {"models/sources/robustbench.py"}
"""Defaults, examples for users, and the words of other libraries."""


def named_datasets(text: str) -> list[str]:
    """Return the datasets that code names in its texts, except in docstrings and paths of recipes.

    The names ``auto``, ``digits``, ``folder`` and so on are common words: only ``digits`` counts, as a text
    of its own.
    """
    tree = ast.parse(text)
    bare = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    texts = [
        node.value
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in bare
    ]
    names = units(Dataset).keys() - {"auto", "digits", "folder", "hf", "npz"}
    return [
        found
        for found in texts
        if found == "digits" or any(re.search(rf"(?<![\w/]){name}(?![\w.])", found) for name in names)
    ]


@pytest.mark.parametrize(
    ("code", "found"),
    [
        ('x == "mnist"', True),
        ('f"mean needs std, such as mnist and {x}"', True),
        ('["digits"]', True),
        ('"too many digits"', False),
        ('def f():\n    "The default is mnist."', False),
        ('"see recipes/mnist.toml"', False),
        ('"mnist_cnn"', False),
    ],
)
def test_such_code_is_recognised(code: str, found: bool) -> None:
    assert bool(named_datasets(code)) == found


def test_no_code_outside_the_folder_names_a_dataset() -> None:
    found = {
        str(path): named
        for path in (path.relative_to(SOURCES) for path in SOURCES.rglob("*.py"))
        if path.parts[0] != "data" and path.as_posix() not in MAY_NAME
        if (named := named_datasets((SOURCES / path).read_text(encoding="utf-8")))
    }
    assert found == {}


def test_a_named_part_of_a_split_keeps_its_ids() -> None:
    split = Split.of(torch.rand(4, 1, 2, 2), torch.arange(4), name="train")
    part = split.take(torch.tensor([2, 0])).named("validation")
    assert (part.name, part.ids.tolist(), split.name) == ("validation", [2, 0], "train")


def test_a_dataset_that_extends_another_one_downloads_the_same(tmp_path: Path) -> None:
    class First(CIFAR10):
        pass

    class Unknown(FileDataset):
        def unpacked(self, archive: Path, name: str) -> bytes:
            raise NotImplementedError

        def read(self, root: Path, *, train: bool) -> Any:
            raise NotImplementedError

    with pytest.raises(RuntimeError, match="not found"):
        First().torchvision(tmp_path, train=True)
    with pytest.raises(SetupError, match="Unknown"):
        Unknown().torchvision(tmp_path, train=True)
