"""SVHN (Netzer et al. 2011, Reading Digits in Natural Images): house numbers, cropped to one digit."""

from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from robustlab.core.spec import register
from robustlab.data.files import FileDataset

_TRAIN, _TEST = "train_32x32.mat", "test_32x32.mat"


@register("svhn")
class SVHN(FileDataset):
    """99,289 photos of digits on houses, 32x32, in colour; without the 531,131 extra ones."""

    title = "SVHN (Netzer et al.)"
    folder = "."
    class_names = tuple("0123456789")
    mean, std = (0.4377, 0.4438, 0.4728), (0.1980, 0.2010, 0.1970)
    files = {  # noqa: RUF012 (a class variable)
        _TRAIN: ("e26dedcc434d2e4c54c9b2d4a06d8373", 0),
        _TEST: ("eb5a983be6a315427106f1b164d9cef3", 0),
    }
    test_files = (_TEST,)

    def read(self, root: Path, *, train: bool) -> tuple[Tensor, Tensor]:
        from scipy.io import loadmat

        content = loadmat(root / (_TRAIN if train else _TEST))
        images = torch.from_numpy(content["X"].transpose(3, 2, 0, 1).copy())
        return images, torch.from_numpy(content["y"].astype("int64").reshape(-1) % 10)  # 10 means 0

    def torchvision(self, root: Path, *, train: bool, download: bool = False) -> Any:
        from torchvision import datasets

        return datasets.SVHN(str(root), split="train" if train else "test", download=download)
