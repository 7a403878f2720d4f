"""A split: the images of one part of a dataset, resident in memory."""

import hashlib
from dataclasses import dataclass, replace

import torch
from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class Split:
    """Images with their labels and ids.

    Attributes:
        images: (N, C, H, W), uint8 in 0..255 or float32 on the pixel scale [0, 1].
        labels: (N,) int64.
        ids: (N,) int64, the images' places in the dataset's own file; every random draw goes by them.
        name: ``"train"``, ``"validation"`` or ``"test"``.
    """

    images: Tensor
    labels: Tensor
    ids: Tensor
    name: str

    @classmethod
    def of(cls, images: Tensor, labels: Tensor, *, name: str) -> "Split":
        """Return the split of images that are in the order of their file."""
        return cls(images=images, labels=labels, ids=torch.arange(len(labels)), name=name)

    def __len__(self) -> int:
        return len(self.labels)

    def named(self, name: str) -> "Split":
        """Return the split under another name."""
        return replace(self, name=name)

    def pixels(self, rows: Tensor | slice) -> Tensor:
        """Return the chosen images as a new float32 tensor on the pixel scale."""
        chosen = self.images[rows]
        if chosen.dtype == torch.uint8:
            return chosen.to(torch.float32).div_(255)
        return chosen.clone() if isinstance(rows, slice) else chosen

    def take(self, rows: Tensor | slice) -> "Split":
        """Return the split of the chosen rows."""
        return replace(self, images=self.images[rows], labels=self.labels[rows], ids=self.ids[rows])

    def to(self, device: str) -> "Split":
        """Return the split on a device."""
        images, labels, ids = self.images.to(device), self.labels.to(device), self.ids.to(device)
        return replace(self, images=images, labels=labels, ids=ids)

    def sha256(self) -> str:
        """Return the hash of images, labels and ids."""
        digest = hashlib.sha256()
        for tensor in (self.images, self.labels, self.ids):
            digest.update(f"{tensor.dtype}{tuple(tensor.shape)}".encode())
            digest.update(tensor.cpu().contiguous().numpy().data)
        return digest.hexdigest()


@dataclass(frozen=True, kw_only=True)
class Splits:
    """The three splits of a dataset.

    Attributes:
        name: the registered name, e.g. ``"mnist"``.
        source: where the files came from, for the report.
        class_names: one per class; empty where the dataset has none.
        fallback: why another dataset than the one wished for was loaded, or an empty string.
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
        """Return the splits with at most so many images in each (the first ones)."""
        return replace(
            self,
            train=self.train.take(slice(train)),
            validation=self.validation.take(slice(validation)),
            test=self.test.take(slice(test)),
        )
