"""Every dataset: one file, found in the registry by all who name datasets, and verified before use."""

import ast
import gzip
import hashlib
import io
import os
import pickle
import re
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

import robustlab
from robustlab.cli.main import app
from robustlab.core import spec
from robustlab.core.errors import DataError, SetupError
from robustlab.core.spec import register, units
from robustlab.data import CIFAR10, Dataset, Split, Splits, load_dataset
from robustlab.data.files import FileDataset
from robustlab.data.idx import NAMES, IdxDataset
from robustlab.evaluation.preprocessing import statistics

FILE_DATASETS = [unit for unit in units(Dataset).values() if issubclass(unit, FileDataset)]
IDX = [unit for unit in FILE_DATASETS if issubclass(unit, IdxDataset)]


def md5(content: bytes) -> str:
    return hashlib.md5(content, usedforsecurity=False).hexdigest()


def make_up(unit: type[FileDataset], root: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, bytes]:
    """Write archives of random images in the official format, and make their hashes the official ones."""
    draw = np.random.default_rng(0)
    folder = root / unit.folder
    folder.mkdir(parents=True, exist_ok=True)
    if issubclass(unit, IdxDataset):
        contents = {}
        for name, count in zip(NAMES, (60_000, 60_000, 10_000, 10_000), strict=True):
            shape = (count, 28, 28) if "images" in name else (count,)
            header = b"\0\0\x08" + bytes([len(shape)]) + b"".join(n.to_bytes(4, "big") for n in shape)
            values = draw.integers(0, 10, shape, dtype=np.uint8)
            contents[name] = header + values.tobytes()
        packed = {f"{name}.gz": gzip.compress(content, 0) for name, content in contents.items()}
    else:
        contents = {}
        for name in unit.files:
            images = draw.integers(0, 256, (20, 3072), dtype=np.uint8)
            labels = draw.integers(0, 10, 20).tolist()
            whole = {"data": images, "labels": labels, "label_names": list(unit.class_names)}
            contents[name] = pickle.dumps(whole)
        file = io.BytesIO()
        with tarfile.open(fileobj=file, mode="w:gz") as archive:
            for name, content in contents.items():
                info = tarfile.TarInfo(name)
                info.size = len(content)
                archive.addfile(info, io.BytesIO(content))
        packed = dict.fromkeys(unit.archives, file.getvalue())
    monkeypatch.setattr(unit, "archives", {name: md5(content) for name, content in packed.items()})
    files = {name: (md5(contents[name]) if known else "", size) for name, (known, size) in unit.files.items()}
    monkeypatch.setattr(unit, "files", files)
    if unit is CIFAR10:
        from torchvision import datasets

        batches = [[name.rpartition("/")[2], digest] for name, (digest, _) in files.items()]
        monkeypatch.setattr(datasets.CIFAR10, "train_list", batches[:5])
        monkeypatch.setattr(datasets.CIFAR10, "test_list", batches[5:6])
        monkeypatch.setitem(datasets.CIFAR10.meta, "md5", batches[6][1])
    for name, content in packed.items():
        (folder / name).write_bytes(content)
    return contents


@pytest.fixture
def nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("ROBUSTLAB_DATA", str(tmp_path / "environment"))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("platformdirs.user_cache_path", lambda _: tmp_path / "cache")
    return tmp_path / "data"


@pytest.mark.parametrize("unit", FILE_DATASETS, ids=lambda unit: unit.name)
def test_archives_are_unpacked_verified_and_read(
    unit: type[FileDataset], nowhere: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    contents = make_up(unit, nowhere, monkeypatch)
    assert unit().state(nowhere).startswith(f"{nowhere / unit.folder}, verified")  # from archives alone
    data = load_dataset(unit.name, data_root=nowhere, download=False)
    assert data.name == unit.name
    assert data.class_names == unit.class_names
    assert len(set(data.class_names)) == data.classes == 10
    channels = data.train.images.shape[1]
    assert len(unit.mean) == len(unit.std) == channels
    assert statistics()[unit.name] == (unit.mean, unit.std)
    for name, content in contents.items():
        assert (nowhere / unit.folder / name).read_bytes() == content
    whole = sum(len(split) for split in (data.train, data.validation))
    assert torch.cat([data.train.ids, data.validation.ids]).sort().values.equal(torch.arange(whole))
    assert data.train.images.dtype == torch.uint8
    test = contents[NAMES[2]] if issubclass(unit, IdxDataset) else pickle.loads(contents[list(unit.files)[5]])
    first = np.frombuffer(test, np.uint8)[16:800] if isinstance(test, bytes) else test["data"][0]
    assert np.array_equal(data.test.tensor()[0].numpy().ravel(), first)
    state = unit().state(nowhere)
    assert state.startswith(f"{nowhere / unit.folder}, verified")
    assert ("; of " in state and "only the size" in state) == any(not md5 for md5, _ in unit.files.values())


@pytest.mark.parametrize("unit", FILE_DATASETS, ids=lambda unit: unit.name)
@pytest.mark.parametrize("damage", ["archive", "file"])
def test_what_is_damaged_is_named(
    unit: type[FileDataset], damage: str, nowhere: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_up(unit, nowhere, monkeypatch)
    if damage == "file":
        load_dataset(unit.name, data_root=nowhere)
        path = nowhere / unit.folder / list(unit.files)[1]
        if not unit.files[list(unit.files)[1]][0]:
            path.write_bytes(path.read_bytes()[:-1])  # only its size is known
    else:
        path = nowhere / unit.folder / next(iter(unit.archives))
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
    for part in (*unit.files, *unit.archives, str(nowhere / unit.folder), "--data-root", "ROBUSTLAB_DATA"):
        assert part in str(caught.value)
    assert f"into the folder {Path('DIR', unit.folder)}, then pass" in str(caught.value)
    assert "downloaded when needed" in unit().state(nowhere)


@pytest.mark.parametrize("unit", FILE_DATASETS, ids=lambda unit: unit.name)
def test_the_hashes_are_those_of_torchvision(unit: type[FileDataset]) -> None:
    from torchvision import datasets

    if unit is CIFAR10:
        known: Any = datasets.CIFAR10
        theirs = {
            f"{known.base_folder}/{name}": digest for name, digest in known.train_list + known.test_list
        }
        theirs[f"{known.base_folder}/{known.meta['filename']}"] = known.meta["md5"]
        assert {name: digest for name, (digest, _) in unit.files.items()} == theirs
        assert unit.archives == {known.filename: known.tgz_md5}
    else:
        known = getattr(datasets, unit.__name__)
        assert unit.archives == dict(known.resources)


@pytest.mark.parametrize("unit", FILE_DATASETS, ids=lambda unit: unit.name)
def test_the_normalisation_is_that_of_the_training_images(unit: type[FileDataset]) -> None:
    dataset = unit()
    if dataset.find() is None:
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
MAY_NAME = {"options.py", "training_options.py", "cli/examples.py"}
"""Defaults, and examples for users."""


def named_datasets(text: str) -> list[str]:
    """Return the datasets that code names in its texts, except in docstrings and paths of recipes.

    The names ``auto`` and ``digits`` are common words, so only a text that is nothing else counts.
    """
    tree = ast.parse(text)
    bare = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    texts = [
        node.value
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in bare
    ]
    names = units(Dataset).keys() - {"auto", "digits"}
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
