"""The seeded split of a dataset's training part into train and validation."""

import torch
from torch import Tensor

from robustlab.core import seeding
from robustlab.core.arguments import as_typed
from robustlab.core.errors import DataError


def train_and_validation(count: int, validation_fraction: float, seed: int) -> tuple[Tensor, Tensor]:
    """Return the sorted row numbers of the train and the validation part; an empty one is a `DataError`."""
    generator = torch.Generator().manual_seed(seeding.derive(seed, "validation split"))
    order = torch.randperm(count, generator=generator)
    cut = round(count * validation_fraction)
    if not 0 < cut < count:
        raise DataError(
            f"{as_typed('validation_fraction')} must leave images for training and for validation, "
            f"found {validation_fraction} of {count:,}"
        )
    return order[cut:].sort().values, order[:cut].sort().values
