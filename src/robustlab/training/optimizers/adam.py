"""Adam (Kingma & Ba 2015, arXiv:1412.6980)."""

from collections.abc import Iterable
from typing import Annotated

import torch
from pydantic import Field
from torch import nn

from robustlab.core.spec import register
from robustlab.training.optimizers.base import Optimizer

Decay = Annotated[float, Field(ge=0.0, lt=1.0)]


@register("adam")
class Adam(Optimizer):
    """Steps along the mean gradient, divided for each weight by the gradient's root mean square."""

    lr: Annotated[float, Field(gt=0.0)] = 1e-3
    """Learning rate."""
    betas: tuple[Decay, Decay] = (0.9, 0.999)
    """The shares of the mean gradient, and of the mean squared gradient, that each step keeps."""
    weight_decay: Annotated[float, Field(ge=0.0)] = 0.0
    """The weight of the L2 penalty, whose gradient is added to the loss's."""

    def build(self, parameters: Iterable[nn.Parameter], *, fused: bool) -> torch.optim.Optimizer:
        return torch.optim.Adam(
            parameters, lr=self.lr, betas=self.betas, weight_decay=self.weight_decay, fused=fused
        )
