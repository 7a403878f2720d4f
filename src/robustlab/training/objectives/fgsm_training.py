"""Fast adversarial training (Wong, Rice & Kolter 2020, arXiv:2001.03994): one step from a random start."""

from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor

from robustlab.core import seeding
from robustlab.core.spec import register
from robustlab.threats import ThreatModel
from robustlab.training.objectives.adversarial import (
    AdversarialObjective,
    climb,
    require_bounded,
    searching,
)
from robustlab.training.step import TrainingStep


@register("fgsm_training")
class FGSMTraining(AdversarialObjective):
    """Cross-entropy on the images after one long step from a random start.

    The network stays in train mode for the step, as in the authors' code. The recipe is unstable: at some
    point a network may learn to withstand this one step alone (catastrophic overfitting), which its loss
    does not show. Robust validation with `pgd` does: the best epoch is kept, and ``validation_stop`` ends
    the training.
    """

    threat: ThreatModel
    rel_step_size: Annotated[float, Field(gt=0.0)] = 1.25
    """Step length as a fraction of eps."""

    def __post_init__(self) -> None:
        require_bounded(self.threat)

    def perturbed(self, step: TrainingStep) -> Tensor:
        with searching(step, train_mode=True):
            return climb(step, self.threat, self.start(step), steps=1, rel_step_size=self.rel_step_size)

    def start(self, step: TrainingStep) -> Tensor:
        """Return points of the ball (N, C, H, W) that may lie outside [0, 1], as in the authors' code.

        Inside [0, 1], half of the black pixels would start at 0, and the step would move all of them to eps.
        So the step would begin and end at fewer different points. The points are drawn around mid-grey, where
        [0, 1] does not limit them; for a linf eps above 0.5 they are drawn with 0.5.
        """
        grey = torch.full_like(step.images, 0.5)
        drawn = self.threat.random_start(grey, seeding.derive(step.key, "start"), step.ids)
        return step.images + (drawn - grey)
