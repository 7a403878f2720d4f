"""CIFAR-10 (Krizhevsky 2009, Learning Multiple Layers of Features from Tiny Images): small photos."""

import pickle
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from robustlab.core.spec import register
from robustlab.data.files import FileDataset, from_tar

_ARCHIVE = "cifar-10-python.tar.gz"
_FOLDER = "cifar-10-batches-py"
_META = f"{_FOLDER}/batches.meta"


@register("cifar10")
class CIFAR10(FileDataset):
    """60,000 photos of animals and vehicles, 32x32, in colour."""

    title = "CIFAR-10 (Krizhevsky)"
    folder = "."
    class_names = (
        *("airplane", "automobile", "bird", "cat", "deer"),
        *("dog", "frog", "horse", "ship", "truck"),
    )
    mean, std = (0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616)
    files = {  # noqa: RUF012 (a class variable)
        f"{_FOLDER}/{name}": (md5, 0)
        for name, md5 in (
            ("data_batch_1", "c99cafc152244af753f735de768cd75f"),
            ("data_batch_2", "d4bba439e000b95fd0a9bffe97cbabec"),
            ("data_batch_3", "54ebc095f3ab1f0389bbae665268c751"),
            ("data_batch_4", "634d18415352ddfa80567beed471001a"),
            ("data_batch_5", "482c414d41f54cd18b22e5b47cb7c3cb"),
            ("test_batch", "40351d587109b95175f43aff81a1287e"),
            ("batches.meta", "5ff9c542aee3614f3951f8cda6e48888"),
        )
    }
    archives = {_ARCHIVE: "c58f30108f718f92721af3b95e74349a"}  # noqa: RUF012

    test_files = (f"{_FOLDER}/test_batch", _META)

    def read(self, root: Path, *, train: bool) -> tuple[Tensor, Tensor]:
        return read_batches([root / name for name in self.names(train=train) if name != _META])

    def unpacked(self, archive: Path, name: str) -> bytes:
        return from_tar(archive, self.archives[archive.name], name)


def read_batches(paths: Sequence[Path], labels: str = "labels") -> tuple[Tensor, Tensor]:
    """Return the images (N, 3, 32, 32) and the labels (N,) of verified files in the format of CIFAR."""
    batches = [pickle.loads(path.read_bytes(), encoding="latin1") for path in paths]
    images = np.concatenate([batch["data"] for batch in batches]).reshape(-1, 3, 32, 32)
    return torch.from_numpy(images), torch.tensor([label for batch in batches for label in batch[labels]])
