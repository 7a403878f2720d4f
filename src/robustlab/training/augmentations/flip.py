"""Random mirror images."""

import torch
from torch import Tensor

from robustlab.core import seeding
from robustlab.core.spec import register
from robustlab.threats.base import per_image
from robustlab.training.augmentations.base import Augmentation


@register("flip")
class HorizontalFlip(Augmentation):
    """Swaps left and right of each image with probability one half."""

    def apply(self, images: Tensor, key: int, ids: Tensor) -> Tensor:
        swapped = seeding.uniform(key, ids, (1,)).squeeze(1) < 0.5
        return torch.where(per_image(swapped, images), images.flip(3), images)
