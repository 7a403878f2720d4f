"""STL-10 (Coates, Lee & Ng 2011, An Analysis of Single-Layer Networks): photos of ten classes."""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from robustlab.core.spec import register
from robustlab.data.files import FileDataset, from_tar

_FOLDER = "stl10_binary"


@register("stl10")
class STL10(FileDataset):
    """5,000 training and 8,000 test photos, 96x96, in colour; without the 100,000 without labels."""

    title = "STL-10 (Coates, Lee & Ng)"
    folder = "."
    class_names = (
        *("airplane", "bird", "car", "cat", "deer"),
        *("dog", "horse", "monkey", "ship", "truck"),
    )
    files = {  # noqa: RUF012 (a class variable)
        f"{_FOLDER}/train_X.bin": ("918c2871b30a85fa023e0c44e0bee87f", 0),
        f"{_FOLDER}/train_y.bin": ("5a34089d4802c674881badbb80307741", 0),
        f"{_FOLDER}/test_X.bin": ("7f263ba9f9e0b06b93213547f721ac82", 0),
        f"{_FOLDER}/test_y.bin": ("36f9794fa4beb8a2c72628de14fa638e", 0),
    }
    test_files = (f"{_FOLDER}/test_X.bin", f"{_FOLDER}/test_y.bin")
    archives = {"stl10_binary.tar.gz": "91f7769df0f17e558f3565bffb0c7dfb"}  # noqa: RUF012

    def read(self, root: Path, *, train: bool) -> tuple[Tensor, Tensor]:
        pixels, labels = (np.fromfile(root / name, np.uint8) for name in self.names(train=train))
        images = pixels.reshape(-1, 3, 96, 96).swapaxes(2, 3)  # the files hold column after column
        return torch.from_numpy(images.copy()), torch.from_numpy(labels.astype(np.int64)) - 1

    def unpacked(self, archive: Path, name: str) -> bytes:
        return from_tar(archive, self.archives[archive.name], name)

    def torchvision(self, root: Path, *, train: bool, download: bool = False) -> Any:
        from torchvision import datasets

        return datasets.STL10(str(root), split="train" if train else "test", download=download)
