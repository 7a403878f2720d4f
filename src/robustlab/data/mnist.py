"""MNIST through torchvision: found on disk or downloaded, and verified before use."""

import gzip
import hashlib
import http.client
import os
import zlib
from collections.abc import Iterable
from pathlib import Path

import platformdirs
import torch

from robustlab.core.errors import DataError, OutputError
from robustlab.core.files import write_bytes
from robustlab.data.split import Dataset, Split
from robustlab.data.splitting import train_and_validation

FILES = {
    "train-images-idx3-ubyte": ("6bbc9ace898e44ae57da46a324031adb", 47_040_016),
    "train-labels-idx1-ubyte": ("a25bea736e30d166cdddb491f175f624", 60_008),
    "t10k-images-idx3-ubyte": ("2646ac647ad5339dbf082846283269ea", 7_840_016),
    "t10k-labels-idx1-ubyte": ("27ae3e4e09519cfbb04c329615203637", 10_008),
}
"""MD5 and size in bytes of the four official files, uncompressed (http://yann.lecun.com/exdb/mnist)."""

ENVIRONMENT = "ROBUSTLAB_DATA"


def search_path(data_root: Path | None = None) -> list[Path]:
    """Return the folders in which data is looked for, in order."""
    from_environment = os.environ.get(ENVIRONMENT)
    places = [
        data_root,
        Path(from_environment) if from_environment else None,
        Path("data"),
        platformdirs.user_cache_path("robustlab"),
    ]
    return [place.expanduser() for place in places if place is not None]


def find(data_root: Path | None = None) -> Path | None:
    """Return the first folder of `search_path` that holds MNIST files, complete or not, or None."""
    return next((root for root in search_path(data_root) if _has_any(root)), None)


def load(*, data_root: Path | None, validation_fraction: float, seed: int, download: bool = True) -> Dataset:
    """Load MNIST: 28x28, grey, ten classes; 60,000 images for training and validation, 10,000 for the test.

    Args:
        data_root: the first folder to look in; see `search_path` for the others.
        validation_fraction: the share of the 60,000 that is set apart.
        seed: of the choice of validation images.
        download: whether to download the files if they are nowhere.

    Raises:
        DataError: the files are nowhere and can't be downloaded, or are truncated or altered.
    """
    root = find(data_root)
    if root is None:
        root = _download(data_root) if download else _give_up(data_root, "downloading was not allowed")
    _restore_compressed(root)
    verify(root)
    from torchvision.datasets import MNIST

    train, test = (MNIST(str(root), train=part) for part in (True, False))
    images, labels = train.data[:, None], train.targets
    first, second = train_and_validation(len(labels), validation_fraction, seed)
    return Dataset(
        name="mnist",
        train=Split(images=images[first], labels=labels[first], ids=first, name="train"),
        validation=Split(images=images[second], labels=labels[second], ids=second, name="validation"),
        test=Split(
            images=test.data[:, None], labels=test.targets, ids=torch.arange(len(test.data)), name="test"
        ),
        source="MNIST (LeCun, Cortes & Burges), files verified by MD5",
    )


def verify(root: Path) -> None:
    """Check the four files under ``root`` byte for byte.

    Raises:
        DataError: naming each file that is missing, truncated or altered.
    """
    problems = [problem for name in FILES if (problem := _problem(_raw(root) / name))]
    if problems:
        raise MnistFilesError(
            f"the MNIST files in {_raw(root)} can't be used: {'; '.join(problems)}. Replace them with the "
            "official ones, or remove that folder to have them downloaded again"
        )


def _problem(path: Path) -> str:
    md5, size = FILES[path.name]
    if not path.is_file():
        return f"{path.name} is missing"
    found = path.stat().st_size
    if found != size:
        return f"{path.name} is {'truncated' if found < size else 'too long'} ({found:,} of {size:,} bytes)"
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()
    return "" if digest == md5 else f"{path.name} was altered (MD5 {digest}, official {md5})"


class MnistFilesError(DataError):
    """The files of MNIST are nowhere, or not the official ones: the message has all four, and the folders."""

    limit = 1500


def _raw(root: Path) -> Path:
    return root / "MNIST" / "raw"


def _has_any(root: Path) -> bool:
    return any(_raw(root).joinpath(name + end).is_file() for name in FILES for end in ("", ".gz"))


def _restore_compressed(root: Path) -> None:
    """Unpack each .gz whose plain file is absent, as left by an interrupted download or a manual copy."""
    for name in FILES:
        plain, packed = _raw(root) / name, _raw(root) / f"{name}.gz"
        if plain.is_file() or not packed.is_file():
            continue
        md5, size = FILES[name]
        try:
            with gzip.open(packed, "rb") as source:
                content = source.read(size + 1)  # of a file that unpacks to terabytes, too
            if hashlib.md5(content, usedforsecurity=False).hexdigest() != md5:
                raise ValueError(f"it does not hold the official file of {size:,} bytes")
            write_bytes(plain, content)
        except (EOFError, zlib.error, OSError, ValueError, OutputError) as error:
            raise MnistFilesError(
                f"{packed} can't be unpacked: {error}. Remove it to have it downloaded again"
            ) from None


def _download(data_root: Path | None) -> Path:
    root = data_root or search_path()[-1]
    from torchvision.datasets import MNIST

    try:
        root.mkdir(parents=True, exist_ok=True)
        MNIST(str(root), download=True)  # torchvision shows a progress bar of its own
    except (RuntimeError, OSError, EOFError, zlib.error, http.client.HTTPException) as error:
        reason = " ".join(str(error).split())
        _give_up(data_root, f"downloading to {root} failed ({reason})")
    return root


def _give_up(data_root: Path | None, reason: str) -> Path:
    tried = ", ".join(str(_raw(place)) for place in search_path(data_root))
    raise MnistFilesError(
        f"MNIST was not found and {reason}. Looked in: {tried}. To place it by hand, put the four files "
        f"{_listing(FILES)} (plain or .gz) into a folder DIR/MNIST/raw, then pass --data-root DIR or set "
        f"{ENVIRONMENT}=DIR"
    )


def _listing(names: Iterable[str]) -> str:
    return ", ".join(names)
