"""Adversarial weight perturbation (Wu, Xia & Wang 2020, arXiv:2004.05884), around another objective."""

from dataclasses import replace
from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor, nn

from robustlab.core.spec import register
from robustlab.training.objectives.adversarial import AroundObjective, searching
from robustlab.training.objectives.base import Objective
from robustlab.training.objectives.with_tensors import WithTensors
from robustlab.training.step import TrainingStep


@register("awp")
class AWP(AroundObjective):
    """The loss of another objective at weights that were moved to where it is higher.

    Each weight matrix or filter moves along the gradient by ``gamma`` times its own norm. The network's step
    goes from the weights themselves, by the gradient at the moved ones. Biases, and the scales of batch
    normalisation, stay.
    """

    objective: Objective
    """One that attacks the network, such as `trades`; its images are those without a move of the weights."""
    gamma: Annotated[float, Field(ge=0.0)] = 0.01
    """The length of a move as a share of the norm of the weights; 0 is the objective itself."""
    warmup: Annotated[float, Field(ge=0.0, le=1.0)] = 0.1
    """The share of the training, at its beginning, in which the weights are not moved."""

    def loss_at(self, step: TrainingStep, points: Tensor) -> Tensor:
        if self.gamma == 0 or step.progress < self.warmup:
            return self.inner.loss_at(step, points)
        moves = self.moves(step, points)
        weights = {name: weight + moves[name] for name, weight in _weights(step.network).items()}
        return self.inner.loss_at(replace(step, network=WithTensors(step.network, weights)), points)

    def moves(self, step: TrainingStep, points: Tensor) -> dict[str, Tensor]:
        """Return by its parameter's name how far each weight moves."""
        leaves = {name: weight.detach().requires_grad_() for name, weight in _weights(step.network).items()}
        with searching(step, train_mode=True):
            there = replace(step, network=WithTensors(step.network, leaves))
            loss = self.inner.loss_at(there, points)
            gradients = torch.autograd.grad(loss, list(leaves.values()), allow_unused=True)
        return {
            name: torch.zeros_like(weight) if gradient is None else self._move(weight.detach(), gradient)
            for (name, weight), gradient in zip(leaves.items(), gradients, strict=True)
        }

    def _move(self, weight: Tensor, gradient: Tensor) -> Tensor:
        moved: Tensor = self.gamma * weight.norm() / gradient.norm().clamp(min=1e-12) * gradient
        return moved


def _weights(network: nn.Module) -> dict[str, Tensor]:
    return {name: weight for name, weight in network.named_parameters() if weight.ndim > 1}
