"""The result of an attack."""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Self

import torch
from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class AttackResult:
    """The result of an attack for each image; all tensors are (N,) except the images, on the images' device.

    Attributes:
        images: (N, C, H, W) float32, allowed by the threat model.
        predictions: the classifier's class for each returned image, in fp32; -1 where the answer is invalid.
        confidences: the softmax probability of that class, in [0, 1]; 0 where the answer is invalid.
        successes: whether the attacker's goal is reached, as the criterion decides on the returned images.
        distances: from the clean image, in the threat model's norm, on the pixel scale.
        forwards: forward passes spent on the image.
        backwards: backward passes spent on the image.
        restarts: the restart that found the returned image; -1 if it is the clean image.
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
        """Return the result of an attack on zero images."""
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
        """Join the results of several parts of the images into one."""
        return cls(**{f.name: torch.cat([getattr(r, f.name) for r in results]) for f in fields(cls)})
