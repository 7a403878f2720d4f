"""CIFAR-10-C (Hendrycks & Dietterich 2019, arXiv:1903.12261): CIFAR-10's test photos with corruptions."""

from pathlib import Path
from typing import Annotated

from pydantic import Field

from robustlab.core.errors import DataError
from robustlab.core.spec import BareText, register
from robustlab.data.arrays import as_labels, as_split_images
from robustlab.data.cifar10 import CIFAR10
from robustlab.data.corruptions import array_in, chosen
from robustlab.data.parts import PartDataset, ReadPart, no_training_part, placed

_SEVERITIES = 5


@register("cifar10_c")
class CIFAR10C(PartDataset):
    """CIFAR-10-C: 10,000 photos for each corruption and severity, in files such as fog.npy and labels.npy."""

    path: BareText
    """The folder of the files."""
    corruption: str
    """Such as ``fog``; the name of a file."""
    severity: Annotated[int, Field(ge=1, le=5)] = 3
    """From 1, the weakest, to 5."""

    class_names = CIFAR10.class_names

    def part(self, *, train: bool, data_root: Path | None, download: bool) -> ReadPart:
        del download
        if train:
            raise no_training_part(self)
        folder = placed(self.path, data_root)
        file = chosen(folder, self.corruption, suffix=".npy")
        images, labels = array_in(file), array_in(folder / "labels.npy")
        n = len(images) // _SEVERITIES
        if len(images) != len(labels) or n * _SEVERITIES != len(images):
            raise DataError(
                f"{file} must hold five severities of equally many images, each with a label; found "
                f"{len(images):,} images and {len(labels):,} labels"
            )
        rows = slice((self.severity - 1) * n, self.severity * n)
        return ReadPart(
            images=as_split_images(images[rows], str(file))[0],
            labels=as_labels(labels[rows], n, f"{folder / 'labels.npy'}"),
            source=f"CIFAR-10-C (Hendrycks & Dietterich), {file}",
            class_names=self.class_names,
        )
