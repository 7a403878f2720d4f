"""A larger and larger eps (Zhang et al. 2019, arXiv:1906.06316, for bounds), around another objective."""

from typing import Annotated

from pydantic import Field
from torch import Tensor

from robustlab.core.spec import register
from robustlab.training.objectives.adversarial import AdversarialObjective, AroundObjective
from robustlab.training.objectives.base import Objective
from robustlab.training.step import TrainingStep


@register("eps_ramp")
class EpsRamp(AroundObjective):
    """The loss of another objective, whose eps rises evenly from 0 to its full value.

    With a large eps from the first step on, a new network may give all images the same answer for long.
    """

    objective: Objective
    """One that attacks the network, such as `mart`."""
    share: Annotated[float, Field(gt=0.0, lt=1.0)] = 0.3
    """The share of the training after which eps has its full value; with 1 it would never have it."""

    @property
    def full_from(self) -> float:
        return max(self.share, self.inner.full_from)

    def perturbed(self, step: TrainingStep) -> Tensor:
        return self._reached(step).perturbed(step)

    def loss_at(self, step: TrainingStep, points: Tensor) -> Tensor:
        return self._reached(step).loss_at(step, points)

    def _reached(self, step: TrainingStep) -> AdversarialObjective:
        done = step.progress >= self.share
        return self.inner if done else self.inner.with_share_of_eps(step.progress / self.share)
