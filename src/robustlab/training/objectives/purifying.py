"""Adversarial training of a purifier and a classifier together, with the error of the reconstruction."""

from typing import Annotated

from pydantic import Field
from torch import Tensor

from robustlab.core.errors import SetupError
from robustlab.core.spec import register
from robustlab.models import PurifiedClassifier
from robustlab.training.objectives.adversarial import AroundObjective
from robustlab.training.objectives.base import Objective
from robustlab.training.step import TrainingStep


@register("purifying")
class Purifying(AroundObjective):
    """The loss of another objective, and the distance of purified adversarial images to the clean ones.

    The attack of the other objective goes through both parts. The distance is the mean squared error of a
    pixel, in pixel units. It needs the architecture `purifier`.
    """

    objective: Objective
    """One that attacks the network, such as `pgd_training`."""
    weight: Annotated[float, Field(ge=0.0)] = 1.0
    """Of the distance; 0 is the objective itself."""

    def loss_at(self, step: TrainingStep, points: Tensor) -> Tensor:
        loss, network = self.inner.loss_at(step, points), step.network
        if self.weight == 0:
            return loss
        if not isinstance(network, PurifiedClassifier):
            raise SetupError(
                "the objective purifying trains the architecture purifier(network=..., classifier=...), "
                f"found {type(network).__name__}; awp goes inside of it"
            )
        distance: Tensor = (network.purifier(points).float() - step.images).square().mean()
        return loss + self.weight * distance
