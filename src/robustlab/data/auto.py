"""MNIST, or scikit-learn's digits if MNIST is neither on the disk nor can be downloaded."""

from dataclasses import replace
from pathlib import Path

from robustlab.core.errors import DataError
from robustlab.core.spec import register
from robustlab.data.base import Dataset
from robustlab.data.digits import Digits
from robustlab.data.files import FileDataset
from robustlab.data.mnist import MNIST
from robustlab.data.split import LoadedSplit, Splits


@register("auto")
class Auto(Dataset):
    """MNIST, or scikit-learn's digits if MNIST is neither on disk nor can be downloaded.

    Damaged files are never ignored. `Splits.fallback` gives the reason if it is not MNIST.
    """

    @property
    def wished(self) -> FileDataset:
        return MNIST()

    @property
    def stand_in(self) -> Dataset:
        return Digits()

    def load(
        self, *, data_root: Path | None, validation_fraction: float, seed: int, download: bool
    ) -> Splits:
        try:
            return self.wished.load(
                data_root=data_root, validation_fraction=validation_fraction, seed=seed, download=download
            )
        except DataError as error:
            if self.wished.find(data_root) is not None:
                raise
            other = self.stand_in.load(
                data_root=data_root, validation_fraction=validation_fraction, seed=seed, download=download
            )
            return replace(other, fallback=str(error))

    def load_test(self, *, data_root: Path | None, download: bool) -> LoadedSplit:
        try:
            return self.wished.load_test(data_root=data_root, download=download)
        except DataError as error:
            if self.wished.find(data_root) is not None:
                raise
            other = self.stand_in.load_test(data_root=data_root, download=download)
            return replace(other, fallback=str(error))
