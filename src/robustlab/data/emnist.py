"""EMNIST (Cohen et al. 2017, arXiv:1702.05373): handwritten digits and letters."""

import gzip
import string
import zipfile
from pathlib import Path
from typing import Any, Literal

from torch import Tensor

from robustlab.core.spec import register
from robustlab.data.files import FileDataset, md5_of
from robustlab.data.idx import read_idx

_COUNTS = {
    "balanced": (112_800, 18_800),
    "byclass": (697_932, 116_323),
    "bymerge": (697_932, 116_323),
    "digits": (240_000, 40_000),
    "letters": (124_800, 20_800),
    "mnist": (60_000, 10_000),
}
"""The training and the test images of each split."""


def _files(part: int) -> dict[str, tuple[str, int]]:
    kind = ("train", "test")[part]
    return {
        f"emnist-{split}-{kind}-{what}-ubyte": ("", size * counts[part] + header)
        for split, counts in _COUNTS.items()
        for what, size, header in (("images-idx3", 784, 16), ("labels-idx1", 1, 8))
    }


_MERGED = frozenset("cijklmopsuvwxyz")
"""The letters whose capital has the same form; `balanced` and `bymerge` have one class for both."""


@register("emnist")
class EMNIST(FileDataset):
    """Up to 814,255 handwritten digits and letters, 28x28, grey, in six splits.

    The images are as the files and torchvision have them, with rows and columns exchanged. The labels of
    `letters` go from 1 to 26, so class 0 has no images.
    """

    split: Literal["balanced", "byclass", "bymerge", "digits", "letters", "mnist"] = "balanced"
    """Which of the six splits."""

    title = "EMNIST (Cohen et al.)"
    folder = "EMNIST/raw"
    files = _files(0) | _files(1)
    test_files = tuple(_files(1))
    archives = {"gzip.zip": "58c8d27c78d21e728a6bc7b3cc06412e"}  # noqa: RUF012 (a class variable)

    def names(self, *, train: bool) -> tuple[str, ...]:
        return tuple(name for name in super().names(train=train) if name.split("-")[1] == self.split)

    def classes(self) -> tuple[str, ...]:
        if self.split == "letters":
            return ("N/A", *string.ascii_lowercase)
        merged = _MERGED if self.split in {"balanced", "bymerge"} else frozenset()
        letters = "" if self.split in {"digits", "mnist"} else string.ascii_uppercase + string.ascii_lowercase
        return (*string.digits, *(letter for letter in letters if letter not in merged))

    def read(self, root: Path, *, train: bool) -> tuple[Tensor, Tensor]:
        return read_idx([root / self.folder / name for name in self.names(train=train)])

    def unpacked(self, archive: Path, name: str) -> bytes:
        if md5_of(archive) != self.archives[archive.name]:
            raise ValueError("its MD5 is not that of the official file")
        with zipfile.ZipFile(archive) as opened, opened.open(f"gzip/{name}.gz") as packed:
            return gzip.open(packed).read()

    def torchvision(self, root: Path, *, train: bool, download: bool = False) -> Any:
        from torchvision import datasets

        return datasets.EMNIST(str(root), split=self.split, train=train, download=download)
