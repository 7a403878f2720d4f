"""Datasets in the format of MNIST: two files of images and two of labels, each compressed by gzip."""

import gzip
import hashlib
import zlib
from pathlib import Path

from torch import Tensor

from robustlab.core.errors import OutputError
from robustlab.core.files import write_bytes
from robustlab.data.files import DataFilesError, FileDataset, md5_of

NAMES = (
    "train-images-idx3-ubyte",
    "train-labels-idx1-ubyte",
    "t10k-images-idx3-ubyte",
    "t10k-labels-idx1-ubyte",
)
_SIZES = (47_040_016, 60_008, 7_840_016, 10_008)


def idx_files(*hashes: str) -> dict[str, tuple[str, int]]:
    """Return the four files with their MD5 and size: 60,000 and 10,000 images of 28x28."""
    return {name: (md5, size) for name, md5, size in zip(NAMES, hashes, _SIZES, strict=True)}


def idx_archives(*hashes: str) -> dict[str, str]:
    """Return the four compressed files with their MD5."""
    return {f"{name}.gz": md5 for name, md5 in zip(NAMES, hashes, strict=True)}


class IdxDataset(FileDataset):
    """60,000 training and 10,000 test images, 28x28, grey, ten classes."""

    def read(self, root: Path, *, train: bool) -> tuple[Tensor, Tensor]:
        found = self.torchvision(root, train=train)
        return found.data[:, None], found.targets

    def unpack(self, root: Path) -> None:
        # An interrupted download or a manual copy may leave such files.
        for name, (md5, size) in self.files.items():
            plain, packed = root / self.folder / name, root / self.folder / f"{name}.gz"
            if plain.is_file() or not packed.is_file():
                continue
            try:
                with gzip.open(packed, "rb") as source:
                    content = source.read(size + 1)  # a gzip file may unpack to terabytes
                if md5:
                    same = hashlib.md5(content, usedforsecurity=False).hexdigest() == md5
                else:
                    same = len(content) == size and md5_of(packed) == self.archives[packed.name]
                if not same:
                    raise ValueError(f"it does not hold the official file of {size:,} bytes")
                write_bytes(plain, content)
            except (EOFError, zlib.error, OSError, ValueError, OutputError) as error:
                raise DataFilesError(
                    f"{packed} can't be unpacked: {error}. Remove it to have it downloaded again"
                ) from None
