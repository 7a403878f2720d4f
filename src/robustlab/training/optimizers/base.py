"""What every optimizer is."""

from abc import ABC, abstractmethod
from collections.abc import Iterable

import torch
from torch import nn

from robustlab.core.spec import Unit


class Optimizer(Unit, ABC):
    """How the weights follow the gradient. The loop multiplies its learning rate by the schedule's factor."""

    kind = "optimizer"
    example = "sgd(lr=0.1, momentum=0.9)"

    @abstractmethod
    def build(self, parameters: Iterable[nn.Parameter], *, fused: bool) -> torch.optim.Optimizer:
        """Return torch's optimizer of some parameters.

        All that its next step depends on is in its ``state_dict``, as tensors, numbers, texts and None: a
        checkpoint holds it.

        Args:
            parameters: of one player.
            fused: whether the device has torch's fused kernels.
        """
