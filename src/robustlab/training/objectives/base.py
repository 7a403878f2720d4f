"""The base class of every objective: a loss, its players, and the kind of network that it trains."""

from abc import ABC, abstractmethod
from typing import ClassVar

import torch.nn.functional as F
from torch import Tensor, nn

from robustlab.core.spec import Unit
from robustlab.data import Split
from robustlab.training.step import TrainingStep


class Objective(Unit, ABC):
    """A loss to minimise.

    Random numbers come from the step's key, or from torch's global generator, which the loop seeds.
    """

    kind = "objective"
    example = "cross_entropy"
    network_kind: ClassVar[str] = "classifier"
    """The kind of network that it trains, as `Model.network_kind` names it. For a classifier the loop also
    measures the validation accuracy."""
    selects = True
    """Whether the weights with the lowest validation loss are kept, rather than the last ones."""

    @property
    def full_from(self) -> float:
        """The share of the training after which eps has its full value, here and in objectives inside."""
        inside = [part.full_from for part in vars(self).values() if isinstance(part, Objective)]
        return max(inside, default=0.0)

    def players(self, network: nn.Module) -> dict[str, nn.Module]:
        """Return the parts that are optimised in turn, each on its own loss; most objectives have one."""
        return {"loss": network}

    def initialize(self, network: nn.Module, train: Split) -> None:
        """Change fresh weights before the first step; most objectives leave them as they are.

        Args:
            network: on the CPU.
            train: the training images.
        """
        del network, train

    @abstractmethod
    def loss(self, step: TrainingStep) -> Tensor:
        """Return the mean loss (a scalar) of the step's player on the batch."""


def cross_entropy(step: TrainingStep, images: Tensor | None = None) -> Tensor:
    """Return the mean cross-entropy of a classifier in fp32, on the step's own images or on others."""
    logits = step.network(step.images if images is None else images)
    return F.cross_entropy(logits.float(), step.labels)
