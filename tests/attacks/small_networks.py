"""Networks for the tests of attacks."""

from typing import Any

import torch
from torch import Tensor, nn

from robustlab.core import seeding


def mlp(
    *, pixels: int = 16, hidden: int = 12, classes: int = 3, scale: float = 3.0, seed: int = 0
) -> nn.Module:
    """Random weights, the larger the scale the steeper; a dropout shows the train mode."""
    with seeding.isolated(seed):
        network = nn.Sequential(
            nn.Flatten(), nn.Linear(pixels, hidden), nn.ReLU(), nn.Dropout(0.5), nn.Linear(hidden, classes)
        )
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.mul_(scale)
    return network.eval()


class Recorded(nn.Module):
    """Keeps the points that it is asked about."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model
        self.points: list[Tensor] = []

    def forward(self, x: Tensor) -> Tensor:
        self.points.append(x.detach())
        logits: Tensor = self.model(x)
        return logits


class _CountBackward(torch.autograd.Function):
    count = 0

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        del ctx
        return x.view_as(x)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        del ctx
        _CountBackward.count += len(gradient)
        return gradient


class Counting(nn.Module):
    """Counts the images that pass a model forwards, batch by batch, and backwards."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model
        self.sizes: list[int] = []
        _CountBackward.count = 0

    def forward(self, x: Tensor) -> Tensor:
        self.sizes.append(len(x))
        logits: Tensor = self.model(_CountBackward.apply(x))
        return logits

    @property
    def forwards(self) -> int:
        return sum(self.sizes)

    @property
    def backwards(self) -> int:
        return _CountBackward.count
