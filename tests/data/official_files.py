"""Small files of random images in the official formats, whose hashes become the official ones for a test."""

import gzip
import hashlib
import io
import pickle
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy.io import savemat

from robustlab.core.spec import units
from robustlab.data import Dataset
from robustlab.data.files import FileDataset
from robustlab.data.idx import NAMES, IdxDataset

FILE_DATASETS = [unit for unit in units(Dataset).values() if issubclass(unit, FileDataset)]
IDX = [unit for unit in FILE_DATASETS if issubclass(unit, IdxDataset)]


def md5(content: bytes) -> str:
    return hashlib.md5(content, usedforsecurity=False).hexdigest()


def idx(draw: np.random.Generator, name: str, count: int, classes: int = 10) -> bytes:
    shape = (count, 28, 28) if "images" in name else (count,)
    header = b"\0\0\x08" + bytes([len(shape)]) + b"".join(n.to_bytes(4, "big") for n in shape)
    values = draw.integers(0, classes, shape, dtype=np.uint8)
    values[-1] = classes - 1
    return header + values.tobytes()


def pickled(draw: np.random.Generator, unit: type[FileDataset]) -> bytes:
    labels = [*draw.integers(0, len(unit.class_names), 19).tolist(), len(unit.class_names) - 1]
    images = draw.integers(0, 256, (20, 3072), dtype=np.uint8)
    return pickle.dumps({"data": images, "labels": labels, "fine_labels": labels})


def matlab(draw: np.random.Generator) -> bytes:
    file = io.BytesIO()
    labels = np.arange(1, 21)[:, None] % 10 + 1
    savemat(file, {"X": draw.integers(0, 256, (32, 32, 3, 20), dtype=np.uint8), "y": labels})
    return file.getvalue()


def zipped(files: dict[str, bytes]) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return file.getvalue()


def photo(draw: np.random.Generator, height: int, width: int) -> bytes:
    file = io.BytesIO()
    Image.fromarray(draw.integers(0, 256, (height, width, 3), dtype=np.uint8)).save(file, format="PPM")
    return file.getvalue()


def signs(draw: np.random.Generator) -> dict[str, bytes]:
    train = {
        f"GTSRB/Training/{n:05}/{k:05}_00000.ppm": photo(draw, 20 + k, 30) for n in (0, 42) for k in range(9)
    }
    test = {f"GTSRB/Final_Test/Images/{n:05}.ppm": photo(draw, 32, 32 + n) for n in range(4)}
    table = "Filename;Width;ClassId\n" + "".join(f"{n:05}.ppm;32;{n * 14}\n" for n in range(4))
    listed = {"GTSRB/Training/00000/GT-00000.csv": b"Filename"}
    parts = (train | listed, test, {"GT-final_test.csv": table.encode()})
    return {
        name: zipped(part)
        for name, part in zip(
            ("GTSRB-Training_fixed.zip", "GTSRB_Final_Test_Images.zip", "GTSRB_Final_Test_GT.zip"),
            parts,
            strict=True,
        )
    }


def contents_of(unit: type[FileDataset]) -> dict[str, bytes]:
    """The unpacked files of a dataset."""
    draw = np.random.default_rng(0)
    match unit.name:
        case _ if unit in IDX:
            counts = zip(NAMES, (60_000, 60_000, 10_000, 10_000), strict=True)
            return {name: idx(draw, name, count) for name, count in counts}
        case "emnist":
            return {name: idx(draw, name, 20, 47) for name in unit.files if "-balanced-" in name}
        case "svhn":
            return {name: matlab(draw) for name in unit.files}
        case "stl10":
            sizes = {"X": 20 * 3 * 96 * 96, "y": 20}
            return {
                name: bytes(range(1, 11)) * 2 if name[-5] == "y" else draw.bytes(sizes["X"])
                for name in unit.files
            }
        case "gtsrb":
            return signs(draw)
    return {name: pickled(draw, unit) for name in unit.files}


def packed_of(unit: type[FileDataset], contents: dict[str, bytes]) -> dict[str, bytes]:
    """The files as they are downloaded."""
    if unit in IDX:
        return {f"{name}.gz": gzip.compress(content, 0) for name, content in contents.items()}
    if unit.name == "emnist":
        return {"gzip.zip": zipped({f"gzip/{name}.gz": gzip.compress(c, 0) for name, c in contents.items()})}
    if not unit.archives:
        return contents
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w:gz") as archive:
        for name, content in contents.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return dict.fromkeys(unit.archives, file.getvalue())


def make_up(unit: type[FileDataset], root: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, bytes]:
    """Write the files as they are downloaded, with their hashes as the official ones; return the contents."""
    folder = root / unit.folder
    folder.mkdir(parents=True, exist_ok=True)
    contents = contents_of(unit)
    packed = packed_of(unit, contents)
    archives = {name: md5(packed[name]) for name in unit.archives}
    monkeypatch.setattr(unit, "archives", archives)
    official = {
        name: (md5(content) if unit.files[name][0] else "", unit.files[name][1] and len(content))
        for name, content in contents.items()
    }
    monkeypatch.setattr(unit, "files", official)
    for name, content in packed.items():
        (folder / name).write_bytes(content)
    return contents
