"""Stochastic gradient descent with momentum (Sutskever et al. 2013 for Nesterov's)."""

from collections.abc import Iterable
from typing import Annotated

import torch
from pydantic import Field
from torch import nn

from robustlab.core.spec import register
from robustlab.training.optimizers.base import Optimizer


@register("sgd")
class SGD(Optimizer):
    """Steps along the gradient, or along a decaying sum of all gradients."""

    lr: Annotated[float, Field(gt=0.0)] = 0.1
    """Learning rate."""
    momentum: Annotated[float, Field(ge=0.0, lt=1.0)] = 0.9
    """The share of the sum of gradients that each step keeps; 0: only the gradient."""
    nesterov: bool = False
    """Whether the step looks ahead (Nesterov's momentum)."""
    weight_decay: Annotated[float, Field(ge=0.0)] = 0.0
    """The weight of the L2 penalty, whose gradient is added to the loss's."""

    def __post_init__(self) -> None:
        if self.nesterov and self.momentum == 0:
            raise ValueError("nesterov needs a momentum above 0")

    def build(self, parameters: Iterable[nn.Parameter], *, fused: bool) -> torch.optim.Optimizer:
        return torch.optim.SGD(
            parameters,
            lr=self.lr,
            momentum=self.momentum,
            nesterov=self.nesterov,
            weight_decay=self.weight_decay,
            fused=fused,
        )
