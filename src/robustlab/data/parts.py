"""Datasets whose training and test part are read separately, such as those at a path of the user."""

from abc import abstractmethod
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from robustlab.core import seeding
from robustlab.core.errors import DataError
from robustlab.data.base import Dataset
from robustlab.data.places import search_path
from robustlab.data.source import ImageSource
from robustlab.data.split import LoadedSplit, Split, Splits
from robustlab.data.splitting import train_and_validation


@dataclass(frozen=True, kw_only=True)
class ReadPart:
    """A training or test part.

    Attributes:
        images: (N, C, H, W), as a `Split` keeps them, or their source.
        labels: (N,) int64.
        source: where they came from, for the report.
        class_names: one per class; empty where they have none.
        remarks: notes for the user, one sentence each.
        order: (N,) the order in which they are used; None: as they are.
    """

    images: Tensor | ImageSource
    labels: Tensor
    source: str
    class_names: tuple[str, ...] = ()
    remarks: tuple[str, ...] = ()
    order: Tensor | None = None

    def split(self, name: str) -> Split:
        """Return the part as a split."""
        whole = Split.of(self.images, self.labels, name=name)
        return whole if self.order is None else whole.take(self.order)


class PartDataset(Dataset):
    """A dataset with a test part, and maybe a training part."""

    @abstractmethod
    def part(self, *, train: bool, data_root: Path | None, download: bool) -> ReadPart:
        """Return one part; nothing of the other one is read.

        Raises:
            DataError: it has no such part, or it can't be read.
        """

    def load(
        self, *, data_root: Path | None, validation_fraction: float, seed: int, download: bool
    ) -> Splits:
        train, test = (
            self.part(train=part, data_root=data_root, download=download) for part in (True, False)
        )
        whole, tested = train.split("train"), test.split("test")
        one, other = (tuple(split.images.shape[1:]) for split in (whole, tested))
        if one != other:
            raise DataError(f"{self.shown_as}: training images are {one} (C, H, W), test images {other}")
        first, second = train_and_validation(len(whole), validation_fraction, seed)
        return Splits(
            name=self.shown_as,
            train=whole.take(first),
            validation=whole.take(second).named("validation"),
            test=tested,
            source=test.source,
            class_names=test.class_names,
        )

    def load_test(self, *, data_root: Path | None, download: bool) -> LoadedSplit:
        test = self.part(train=False, data_root=data_root, download=download)
        return LoadedSplit(
            split=test.split("test"),
            name=self.shown_as,
            source=test.source,
            class_names=test.class_names,
            remarks=test.remarks,
        )


def placed(path: str, data_root: Path | None) -> Path:
    """Return the file or folder of a user's path, relative to the working folder or to one of `search_path`.

    Raises:
        DataError: it does not exist.
    """
    given = Path(path).expanduser()
    first, *others = search_path(data_root)
    candidates = [given, *(place / given for place in (first, *others))]
    if data_root is not None and not given.is_absolute():
        candidates.insert(0, first / given)
    found = next((place for place in candidates if place.exists()), None)
    if found is None:
        looked = ", ".join(dict.fromkeys(str(place.absolute()) for place in candidates))
        raise DataError(f"{path} does not exist; looked for {looked}")
    return found.absolute()


def mixed(labels: Tensor) -> tuple[Tensor, tuple[str, ...]]:
    """Return the order in which images with labels (N,) are used, and a note for the user.

    Images that are sorted by class get a fixed random order, so that the first ones are of all classes.
    """
    if len(labels) < 2 or labels[0] == labels[-1] or (labels.diff() < 0).any():
        return torch.arange(len(labels)), ()
    generator = torch.Generator().manual_seed(seeding.derive(0, "images sorted by class"))
    remark = "the images are sorted by class, so they are taken in a random order that is always the same"
    return torch.randperm(len(labels), generator=generator), (remark,)


def no_training_part(dataset: Dataset) -> DataError:
    """Return the error of a dataset that has only test images."""
    return DataError(f"{dataset.shown_as} has only images to test on; a training needs others")
