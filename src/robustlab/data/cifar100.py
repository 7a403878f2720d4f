"""CIFAR-100 (Krizhevsky 2009, Learning Multiple Layers of Features from Tiny Images): 100 classes."""

from pathlib import Path

from torch import Tensor

from robustlab.core.spec import register
from robustlab.data.cifar10 import read_batches
from robustlab.data.files import FileDataset, from_tar

_FOLDER = "cifar-100-python"


@register("cifar100")
class CIFAR100(FileDataset):
    """60,000 photos of 100 classes, 32x32, in colour."""

    title = "CIFAR-100 (Krizhevsky)"
    folder = "."
    class_names = (
        *("apple", "aquarium_fish", "baby", "bear", "beaver", "bed", "bee", "beetle", "bicycle", "bottle"),
        *("bowl", "boy", "bridge", "bus", "butterfly", "camel", "can", "castle", "caterpillar", "cattle"),
        *("chair", "chimpanzee", "clock", "cloud", "cockroach", "couch", "crab", "crocodile", "cup"),
        *("dinosaur", "dolphin", "elephant", "flatfish", "forest", "fox", "girl", "hamster", "house"),
        *("kangaroo", "keyboard", "lamp", "lawn_mower", "leopard", "lion", "lizard", "lobster", "man"),
        *("maple_tree", "motorcycle", "mountain", "mouse", "mushroom", "oak_tree", "orange", "orchid"),
        *("otter", "palm_tree", "pear", "pickup_truck", "pine_tree", "plain", "plate", "poppy", "porcupine"),
        *("possum", "rabbit", "raccoon", "ray", "road", "rocket", "rose", "sea", "seal", "shark", "shrew"),
        *("skunk", "skyscraper", "snail", "snake", "spider", "squirrel", "streetcar", "sunflower"),
        *("sweet_pepper", "table", "tank", "telephone", "television", "tiger", "tractor", "train", "trout"),
        *("tulip", "turtle", "wardrobe", "whale", "willow_tree", "wolf", "woman", "worm"),
    )
    mean, std = (0.5071, 0.4865, 0.4409), (0.2673, 0.2564, 0.2762)
    files = {  # noqa: RUF012 (a class variable)
        f"{_FOLDER}/train": ("16019d7e3df5f24257cddd939b257f8d", 0),
        f"{_FOLDER}/test": ("f0ef6b0ae62326f3e7ffdfab6717acfc", 0),
        f"{_FOLDER}/meta": ("7973b15100ade9c7d40fb424638fde48", 0),
    }
    test_files = (f"{_FOLDER}/test", f"{_FOLDER}/meta")
    archives = {"cifar-100-python.tar.gz": "eb9058c3a382ffc7106e4002c42a8d85"}  # noqa: RUF012

    def read(self, root: Path, *, train: bool) -> tuple[Tensor, Tensor]:
        return read_batches([root / _FOLDER / ("train" if train else "test")], "fine_labels")

    def unpacked(self, archive: Path, name: str) -> bytes:
        return from_tar(archive, self.archives[archive.name], name)
