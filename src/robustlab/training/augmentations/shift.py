"""Random shifts."""

from typing import Annotated

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, arange

from robustlab.core import seeding
from robustlab.core.spec import register
from robustlab.training.augmentations.base import Augmentation


@register("shift")
class Shift(Augmentation):
    """Moves each image by up to ``pixels`` whole pixels in each direction; new pixels are black (0)."""

    pixels: Annotated[int, Field(ge=1, le=10_000)] = 2
    """The largest shift, in pixels."""
    share: Annotated[float, Field(gt=0.0, le=1.0)] = 1.0
    """The share of the images that are moved, chosen at random in each epoch."""

    def apply(self, images: Tensor, key: int, ids: Tensor) -> Tensor:
        height, width = images.shape[2:]
        padded = F.pad(images, 4 * [self.pixels])
        corner = (seeding.uniform(key, ids, (2,)) * (2 * self.pixels + 1)).long()
        if self.share < 1:
            moved = seeding.uniform(seeding.derive(key, "moved"), ids, (1,)) < self.share
            corner = torch.where(moved, corner, self.pixels)
        rows = corner[:, :1] + arange(height, device=images.device)
        columns = corner[:, 1:] + arange(width, device=images.device)
        number = arange(len(images), device=images.device)[:, None, None]
        return padded[number, :, rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2)
