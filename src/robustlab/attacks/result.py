"""What an attack returns."""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Self

import torch
from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class AttackResult:
    """What an attack found, image by image; all (N,) but the images, all on the images' device.

    Attributes:
        images: (N, C, H, W) float32, allowed by the threat model.
        predictions: the classifier's class for each returned image, in fp32; -1 where it gives no answer.
        confidences: the softmax probability of that class; 0 where there is none.
        successes: whether the attacker's goal is reached: what the criterion says of the returned images.
        distances: from the clean image, in the threat model's norm, pixel scale.
        forwards: forward passes spent on the image.
        backwards: backward passes spent on the image.
        restarts: the restart that found the returned image; -1 where the clean image is returned.
    """

    images: Tensor
    predictions: Tensor
    confidences: Tensor
    successes: Tensor
    distances: Tensor
    forwards: Tensor
    backwards: Tensor
    restarts: Tensor

    @classmethod
    def empty(cls, images: Tensor) -> Self:
        """Return the result of attacking none of the images."""
        none = torch.zeros(0, device=images.device)
        whole = none.to(torch.int64)
        return cls(
            images=images[:0],
            predictions=whole,
            confidences=none,
            successes=none.to(torch.bool),
            distances=none,
            forwards=whole,
            backwards=whole,
            restarts=whole,
        )

    @classmethod
    def joined(cls, results: Sequence[Self]) -> Self:
        """Return one result for the images of several."""
        return cls(**{f.name: torch.cat([getattr(r, f.name) for r in results]) for f in fields(cls)})
