"""Datasets in the format of MNIST: two files of images and two of labels, each compressed by gzip."""

import gzip
import hashlib
from collections.abc import Sequence
from pathlib import Path

from torch import Tensor

from robustlab.data.files import FileDataset, md5_of

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


def read_idx(paths: Sequence[Path]) -> tuple[Tensor, Tensor]:
    """Return the images (N, 1, H, W) and the labels (N,) of two verified files."""
    from torchvision.datasets.mnist import read_image_file, read_label_file

    images, labels = map(str, paths)
    return read_image_file(images)[:, None], read_label_file(labels)


class IdxDataset(FileDataset):
    """60,000 training and 10,000 test images, 28x28, grey, ten classes."""

    test_files = NAMES[2:]

    def read(self, root: Path, *, train: bool) -> tuple[Tensor, Tensor]:
        return read_idx([root / self.folder / name for name in self.names(train=train)])

    def unpacked(self, archive: Path, name: str) -> bytes:
        md5, size = self.files[name]
        with gzip.open(archive, "rb") as source:
            content = source.read(size + 1)  # a gzip file may unpack to terabytes
        if md5:
            same = hashlib.md5(content, usedforsecurity=False).hexdigest() == md5
        else:
            same = len(content) == size and md5_of(archive) == self.archives[archive.name]
        if not same:
            raise ValueError(f"it does not hold the official file of {size:,} bytes")
        return content
