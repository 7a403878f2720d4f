"""MNIST-C (Mu & Gilmer 2019, arXiv:1906.02337): MNIST's digits with corruptions."""

from pathlib import Path

from robustlab.core.spec import BareText, register
from robustlab.data.arrays import as_labels, as_split_images
from robustlab.data.corruptions import array_in, chosen
from robustlab.data.mnist import MNIST
from robustlab.data.parts import PartDataset, ReadPart, placed


@register("mnist_c")
class MNISTC(PartDataset):
    """MNIST-C: MNIST under one corruption, in files such as fog/test_images.npy and fog/test_labels.npy."""

    path: BareText
    """The folder of the corruptions."""
    corruption: str
    """Such as ``fog``; the name of a folder."""

    class_names = MNIST.class_names

    def part(self, *, train: bool, data_root: Path | None, download: bool) -> ReadPart:
        del download
        folder = chosen(placed(self.path, data_root), self.corruption)
        part = "train" if train else "test"
        files = folder / f"{part}_images.npy", folder / f"{part}_labels.npy"
        images, _ = as_split_images(array_in(files[0]), str(files[0]))
        return ReadPart(
            images=images,
            labels=as_labels(array_in(files[1]), len(images), str(files[1])),
            source=f"MNIST-C (Mu & Gilmer), {folder}",
            class_names=self.class_names,
        )
