"""Step sizes that several attacks share, and Adam's direction."""

import math
from typing import Protocol

from torch import Tensor

_MEAN_DECAY, _SQUARE_DECAY = 0.9, 0.999


def cosine(first: float, last: float, share: float) -> float:
    """Return the value of a cosine schedule from first to last, after a share of the steps in [0, 1]."""
    return last + (first - last) * (1 + math.cos(math.pi * share)) / 2


class Moments(Protocol):
    """Adam's state: running means of the gradient and of its square, zeros at the start."""

    mean: Tensor
    square: Tensor


def adam(moments: Moments, gradient: Tensor, step: int) -> Tensor:
    """Return Adam's direction (Kingma & Ba 2015, arXiv:1412.6980) along the gradient; step counts from 1."""
    moments.mean = _MEAN_DECAY * moments.mean + (1 - _MEAN_DECAY) * gradient
    moments.square = _SQUARE_DECAY * moments.square + (1 - _SQUARE_DECAY) * gradient.square()
    size = (moments.square / (1 - _SQUARE_DECAY**step)).sqrt() + 1e-8
    return moments.mean / (1 - _MEAN_DECAY**step) / size
