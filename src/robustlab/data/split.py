"""A split: the images of one part of a dataset, in memory or in files."""

import hashlib
from dataclasses import dataclass, replace
from functools import cached_property

import torch
from torch import Tensor

from robustlab.data.feature_ranges import FeatureRanges
from robustlab.data.source import ImageSource, LazyImages


@dataclass(frozen=True, kw_only=True)
class Split:
    """Images with their labels and ids.

    Attributes:
        images: (N, C, H, W), uint8 in 0..255 or float32 on the pixel scale [0, 1]; in memory or in files,
            which `pixels`, `tensor` and `sha256` read. A `DataError` names an image that can't be read.
        labels: (N,) int64.
        ids: (N,) int64, the images' places in the dataset's own file; every random draw depends on them.
        name: ``"train"``, ``"validation"`` or ``"test"``.
        features: how the images were made from rows of features or signals; None if they are images.
    """

    images: Tensor | LazyImages
    labels: Tensor
    ids: Tensor
    name: str
    features: FeatureRanges | None = None

    @classmethod
    def of(cls, images: Tensor | LazyImages | ImageSource, labels: Tensor, *, name: str) -> "Split":
        """Return the split of images that are in the order of their file, or of all images of a source."""
        images = LazyImages.of(images) if isinstance(images, ImageSource) else images
        return cls(images=images, labels=labels, ids=torch.arange(len(labels)), name=name)

    def __len__(self) -> int:
        return len(self.labels)

    def named(self, name: str) -> "Split":
        """Return the split under another name."""
        return replace(self, name=name)

    def pixels(self, rows: Tensor | slice) -> Tensor:
        """Return the chosen images as a new float32 tensor on the pixel scale."""
        chosen = self.images[rows] if isinstance(self.images, Tensor) else self.take(rows).tensor()
        if chosen.dtype == torch.uint8:
            return chosen.to(torch.float32).div_(255)
        return chosen.clone() if isinstance(rows, slice) else chosen

    def take(self, rows: Tensor | slice) -> "Split":
        """Return the split of the chosen rows; nothing is read."""
        if isinstance(rows, slice) and range(len(self))[rows] == range(len(self)):
            return self  # with the hash that is known already
        return replace(self, images=self.images[rows], labels=self.labels[rows], ids=self.ids[rows])

    def to(self, device: str) -> "Split":
        """Return the split on a device."""
        images = self.images.to(device) if isinstance(self.images, Tensor) else self.images
        return replace(self, images=images, labels=self.labels.to(device), ids=self.ids.to(device))

    def tensor(self) -> Tensor:
        """Return all images in memory, uint8 or float32 as they are kept."""
        images = self.images
        return images if isinstance(images, Tensor) else images.read(self.ids).to(self.labels.device)

    def sha256(self) -> str:
        """Return the hash of images, labels and ids; see also `ImageSource.sha256`."""
        return self._hash() if isinstance(self.images, Tensor) else self._hash_of_files

    @cached_property
    def _hash_of_files(self) -> str:
        return self._hash()

    def _hash(self) -> str:
        digest = hashlib.sha256()
        for part in (self.images, self.labels, self.ids):
            digest.update(f"{part.dtype}{tuple(part.shape)}".encode())
            for values in part.hashed(self.ids) if isinstance(part, LazyImages) else [part]:
                digest.update(values.cpu().contiguous().numpy().data)
        return digest.hexdigest()


@dataclass(frozen=True, kw_only=True)
class LoadedSplit:
    """One split of a dataset, loaded without the others.

    Attributes:
        name: the dataset's spec without defaults, e.g. ``"mnist"`` or ``"emnist(split=letters)"``.
        source: where the files came from, for the report.
        class_names: one per class; empty where the dataset has none.
        fallback: why another dataset than the requested one was loaded, or an empty string.
        remarks: notes for the user on the images, one sentence each.
    """

    split: Split
    name: str
    source: str
    class_names: tuple[str, ...] = ()
    fallback: str = ""
    remarks: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Splits:
    """The three splits of a dataset.

    Attributes:
        name: the dataset's spec without defaults, e.g. ``"mnist"`` or ``"emnist(split=letters)"``.
        source: where the files came from, for the report.
        class_names: one per class; empty where the dataset has none.
        fallback: why another dataset than the requested one was loaded, or an empty string.
    """

    name: str
    train: Split
    validation: Split
    test: Split
    source: str
    class_names: tuple[str, ...] = ()
    fallback: str = ""

    @property
    def classes(self) -> int:
        """The number of classes."""
        return max(int(part.labels.max()) for part in (self.train, self.validation, self.test)) + 1

    def split(self, name: str) -> Split:
        """Return the split called ``"train"``, ``"validation"`` or ``"test"``."""
        splits = {"train": self.train, "validation": self.validation, "test": self.test}
        return splits[name]

    def limited(self, train: int, validation: int, test: int) -> "Splits":
        """Return the splits with at most so many images in each.

        Those of the test set are spread over it, since its file may be in some order; MNIST's is. The other
        two splits are in random order already: their first images.
        """
        spread = torch.arange(min(test, len(self.test))) * len(self.test) // test
        return replace(
            self,
            train=self.train.take(slice(train)),
            validation=self.validation.take(slice(validation)),
            test=self.test.take(spread if test < len(self.test) else slice(None)),
        )
