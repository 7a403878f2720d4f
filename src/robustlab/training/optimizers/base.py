"""The base class of every optimizer."""

from abc import ABC, abstractmethod
from collections.abc import Iterable

import torch
from torch import nn

from robustlab.core.spec import Unit


class Optimizer(Unit, ABC):
    """A rule that updates the weights. The loop multiplies its learning rate by the schedule's factor."""

    kind = "optimizer"
    example = "sgd(lr=0.1, momentum=0.9)"

    @abstractmethod
    def build(self, parameters: Iterable[nn.Parameter], *, fused: bool) -> torch.optim.Optimizer:
        """Return torch's optimizer of some parameters.

        Its ``state_dict`` must contain everything on which the next step depends, as tensors, numbers, texts
        and None, so that a checkpoint can store it.

        Args:
            parameters: of one player.
            fused: whether the device has torch's fused kernels.
        """
