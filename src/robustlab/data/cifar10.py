"""CIFAR-10 (Krizhevsky 2009, Learning Multiple Layers of Features from Tiny Images): small photos."""

import tarfile
from pathlib import Path

import torch
from torch import Tensor

from robustlab.core.spec import register
from robustlab.data.files import FileDataset, md5_of

_ARCHIVE = "cifar-10-python.tar.gz"
_FOLDER = "cifar-10-batches-py"


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

    def read(self, root: Path, *, train: bool) -> tuple[Tensor, Tensor]:
        dataset = self.torchvision(root, train=train)
        images = torch.from_numpy(dataset.data).permute(0, 3, 1, 2).contiguous()
        return images, torch.tensor(dataset.targets, dtype=torch.int64)

    def unpacked(self, archive: Path, name: str) -> bytes:
        if md5_of(archive) != self.archives[archive.name]:
            raise ValueError("its MD5 is not that of the official file")
        with tarfile.open(archive) as opened:
            file = opened.extractfile(name)
            return b"" if file is None else file.read()
