"""Datasets: MNIST, and the embedded digits that stand in for it where there is neither file nor network."""

from pathlib import Path
from typing import Literal, get_args

from robustlab.core.arguments import as_path, check_share, check_whole
from robustlab.core.errors import DataError, did_you_mean, offer
from robustlab.core.isolation import own_settings
from robustlab.core.text import shown
from robustlab.data import digits, mnist
from robustlab.data.split import Dataset, Split

__all__ = ["DATASETS", "Dataset", "DatasetChoice", "Split", "load_dataset"]

DatasetChoice = Literal["auto", "mnist", "digits"]

DATASETS = {
    "auto": "MNIST, or the embedded digits where it is neither on disk nor to be downloaded",
    "mnist": "MNIST: 70,000 handwritten digits, 28x28",
    "digits": "scikit-learn's embedded digits: 1,797, 8x8 brought to 28x28",
}


@own_settings()
def load_dataset(
    name: str = "auto",
    *,
    data_root: str | Path | None = None,
    validation_fraction: float = 0.2,
    seed: int = 0,
    download: bool = True,
) -> Dataset:
    """Load a dataset into memory.

    Args:
        name: a key of `DATASETS`.
        data_root: the first folder in which MNIST is looked for; then come the environment variable
            ``ROBUSTLAB_DATA``, ``./data`` and the user's cache folder.
        validation_fraction: the share of the training part that is set apart for validation.
        seed: of the choice of validation images.
        download: whether MNIST may be downloaded if it is nowhere on the disk.

    Returns:
        Train, validation and test split; with ``"auto"``, `Dataset.fallback` says why if it is not MNIST.

    Raises:
        DataError: unknown name; ``"mnist"`` is nowhere; or files that are there are truncated or altered
            (also with ``"auto"``: damaged files are never passed over in silence).
    """
    if not isinstance(name, str) or name not in get_args(DatasetChoice):
        hint = did_you_mean(name, DATASETS) if isinstance(name, str) else ""
        raise DataError(f"unknown dataset {shown(name)}{hint}; {offer(DATASETS)}")
    root = None if data_root is None else as_path("data_root", data_root)
    check_share("validation_fraction", validation_fraction)
    check_whole("seed", seed, 0)
    if name == "digits":
        return digits.load(validation_fraction=validation_fraction, seed=seed)
    try:
        return mnist.load(
            data_root=root, validation_fraction=validation_fraction, seed=seed, download=download
        )
    except DataError as error:
        if name == "mnist" or mnist.find(root) is not None:
            raise
        return digits.load(validation_fraction=validation_fraction, seed=seed, fallback=str(error))
