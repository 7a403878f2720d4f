"""Bounds that neither vanish nor explode: Shi, Wang, Zhang, Yi & Hsieh 2021 (arXiv:2103.17268).

A fresh network's interval bounds grow from layer to layer, and most ReLUs are then undecided or dead. The
paper begins with smaller weights, and adds a regulariser while eps rises.
"""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from robustlab.certify import Interval

Layers = list[tuple[Tensor, Tensor]]
"""The bounds of the inputs of each ReLU, from the first layer to the last."""

_TOLERANCE = 0.5
"""Ratios above it cost nothing (tau in the paper)."""

_LINEAR = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d)


def initialize(network: nn.Module) -> None:
    """Draw weights at which interval bounds keep their width from layer to layer (section 4.1).

    Their mean is 0 and their variance 2 pi / fan_in^2; biases are 0. Draws come from torch's generator.
    """
    with torch.no_grad():
        for layer in network.modules():
            if isinstance(layer, _LINEAR):
                layer.weight.normal_(0.0, math.sqrt(2 * math.pi) / layer.weight[0].numel())
                if layer.bias is not None:
                    layer.bias.zero_()


@contextmanager
def seen_by_relus(network: nn.Module) -> Iterator[Layers]:
    """Yield a list that fills with the bounds at each `nn.ReLU` that is asked inside the block."""
    seen: Layers = []

    def note(_: nn.Module, given: tuple[Any, ...]) -> None:
        if given and isinstance(given[0], Interval):
            seen.append((given[0].lower, given[0].upper))

    handles = [
        part.register_forward_pre_hook(note) for part in network.modules() if isinstance(part, nn.ReLU)
    ]
    try:
        yield seen
    finally:
        for handle in handles:
            handle.remove()


def imbalance(pixels: tuple[Tensor, Tensor], layers: Layers) -> Tensor:
    """Return how much bounds widen through the layers, and how unevenly ReLUs are on and off (section 4.2).

    Each layer has three ratios: the pixels' mean width to its own, and the centres above 0 to those below it,
    by their sums and by their squares. A ratio below one half adds the difference. The result is 0 if a
    network has no `nn.ReLU`.
    """
    width = (pixels[1] - pixels[0]).mean()
    total = torch.zeros((), device=width.device)
    for lower, upper in layers:
        ratios = [width / (upper - lower).mean().clamp(min=1e-12)]
        centre = (lower + upper) / 2
        spread = (centre - centre.mean()).square()
        # Products: the gradient of a selection, centre[on], takes longer than all bounds.
        on = (centre > 0).to(centre.dtype)
        ratios.append(_balance((centre * on).sum(), -(centre * (1 - on)).sum()))
        ratios.append(_balance((spread * on).sum(), (spread * (1 - on)).sum()))
        for ratio in ratios:
            total = total + F.relu(_TOLERANCE - ratio) / _TOLERANCE
    return total / max(len(layers), 1)


def _balance(one: Tensor, other: Tensor) -> Tensor:
    """Return the ratio of the smaller to the larger of two values that are not negative."""
    return torch.minimum(one, other) / torch.maximum(one, other).clamp(min=1e-12)
