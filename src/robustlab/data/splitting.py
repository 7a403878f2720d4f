"""The seeded split of a dataset's training part into train and validation."""

import torch
from torch import Tensor

from robustlab.core import seeding


def train_and_validation(count: int, validation_fraction: float, seed: int) -> tuple[Tensor, Tensor]:
    """Return the sorted row numbers of the train and of the validation part."""
    generator = torch.Generator().manual_seed(seeding.derive(seed, "validation split"))
    order = torch.randperm(count, generator=generator)
    cut = round(count * validation_fraction)
    return order[cut:].sort().values, order[:cut].sort().values
