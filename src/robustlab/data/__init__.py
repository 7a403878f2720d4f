"""Datasets: one file each. They load train, validation and test splits."""

import importlib
import pkgutil
from pathlib import Path

from robustlab.core.arguments import as_path, check_share, check_whole
from robustlab.core.errors import DataError, SpecError, did_you_mean, offer
from robustlab.core.isolation import own_settings
from robustlab.core.spec import called, parse, units
from robustlab.core.text import shown
from robustlab.data.auto import Auto
from robustlab.data.base import Dataset
from robustlab.data.cifar10 import CIFAR10
from robustlab.data.digits import Digits
from robustlab.data.fashion_mnist import FashionMNIST
from robustlab.data.feature_ranges import FeatureRanges
from robustlab.data.features import features
from robustlab.data.kmnist import KMNIST
from robustlab.data.mnist import MNIST
from robustlab.data.places import search_path
from robustlab.data.source import ImageSource
from robustlab.data.split import LoadedSplit, Split, Splits

__all__ = [
    "CIFAR10",
    "KMNIST",
    "MNIST",
    "Auto",
    "Dataset",
    "Digits",
    "FashionMNIST",
    "FeatureRanges",
    "ImageSource",
    "LoadedSplit",
    "Split",
    "Splits",
    "check_dataset",
    "features",
    "load_dataset",
    "load_test",
    "search_path",
]

for _module in pkgutil.iter_modules(__path__, f"{__name__}."):  # a dataset registers itself
    importlib.import_module(_module.name)


def check_dataset(name: object) -> Dataset:
    """Return the dataset unit of a name or spec; a unit is returned unchanged.

    Raises:
        DataError: the name is unknown, or the arguments are wrong.
    """
    if isinstance(name, Dataset):
        return name
    known = units(Dataset)
    if isinstance(name, str) and name.partition("(")[0].strip() in known and "(" in name and not called(name):
        hint = 'put a path with spaces, brackets or digits after a slash in quotes: folder("my photos")'
        raise DataError(f"can't parse dataset {shown(name)}; {hint}")
    if not isinstance(name, str) or (called(name) or name) not in known:
        hint = did_you_mean(name, known) if isinstance(name, str) else ""
        raise DataError(f"unknown dataset {shown(name)}{hint}; {offer(known)}")
    try:
        return parse(Dataset, name)
    except SpecError as error:
        raise DataError(str(error)) from None


@own_settings()
def load_dataset(
    name: str | Dataset = "auto",
    *,
    data_root: str | Path | None = None,
    validation_fraction: float = 0.2,
    seed: int = 0,
    download: bool = True,
) -> Splits:
    """Load a dataset.

    Args:
        name: of a dataset, or its spec, such as ``"emnist(split=letters)"``; ``robustlab ls datasets`` lists
            them.
        data_root: the first folder in which its files are looked for; then come the environment variable
            ``ROBUSTLAB_DATA``, ``./data`` and the user's cache folder.
        validation_fraction: the share of the training part that is used for validation.
        seed: of the choice of validation images.
        download: whether it may be downloaded if it is not on the disk.

    Returns:
        Train, validation and test split; `Splits.fallback` says why if it is not the wished dataset.

    Raises:
        DataError: the name is unknown, the files are not found, or they are truncated or altered (also with
            ``"auto"``: damaged files are never ignored).
    """
    dataset = check_dataset(name)
    root = None if data_root is None else as_path("data_root", data_root)
    check_share("validation_fraction", validation_fraction)
    check_whole("seed", seed, 0)
    return dataset.load(data_root=root, validation_fraction=validation_fraction, seed=seed, download=download)


@own_settings()
def load_test(
    name: str | Dataset = "auto", *, data_root: str | Path | None = None, download: bool = True
) -> LoadedSplit:
    """Load the test split of a dataset, without the other ones where they lie apart.

    Args:
        name, data_root, download: as for `load_dataset`.

    Returns:
        The split; `LoadedSplit.fallback` says why if it is not of the wished dataset.

    Raises:
        DataError: as for `load_dataset`, of the files of the test split.
    """
    dataset = check_dataset(name)
    root = None if data_root is None else as_path("data_root", data_root)
    return dataset.load_test(data_root=root, download=download)
