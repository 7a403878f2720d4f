"""Two adversarial objectives in turn, such as two norms (Croce & Hein 2022, arXiv:2105.12508)."""

from dataclasses import replace
from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor

from robustlab.core import seeding
from robustlab.core.spec import register
from robustlab.training.objectives.adversarial import AdversarialObjective, as_adversarial
from robustlab.training.objectives.base import Objective
from robustlab.training.step import TrainingStep


@register("alternating")
class Alternating(AdversarialObjective):
    """Each step has the loss of one of two objectives, drawn at random.

    A step costs as much as one objective. Training within Linf and L1 also protects within L2, up to a
    distance between the two. One of the two may be alternating itself, for three objectives.
    """

    first: Objective
    """One that attacks the network, such as `pgd_training`."""
    second: Objective
    """The other one."""
    share: Annotated[float, Field(gt=0.0, lt=1.0)] = 0.5
    """The probability of the first."""

    def __post_init__(self) -> None:
        for objective in (self.first, self.second):
            as_adversarial(objective)

    def perturbed(self, step: TrainingStep) -> Tensor:
        return self.drawn(step).perturbed(inner_step(step))

    def loss_at(self, step: TrainingStep, points: Tensor) -> Tensor:
        return self.drawn(step).loss_at(inner_step(step), points)

    def with_share_of_eps(self, share: float) -> AdversarialObjective:
        first, second = (as_adversarial(part).with_share_of_eps(share) for part in (self.first, self.second))
        return replace(self, first=first, second=second)

    def drawn(self, step: TrainingStep) -> AdversarialObjective:
        """Return the objective of a step."""
        draw = float(seeding.uniform(step.key, torch.zeros(1, dtype=torch.int64), (1,)))
        return as_adversarial(self.first if draw < self.share else self.second)


def inner_step(step: TrainingStep) -> TrainingStep:
    """Return the step with another key, so that an inner objective's draws do not depend on this one."""
    return replace(step, key=seeding.derive(step.key, "alternating"))
