"""TRADES (Zhang et al. 2019, arXiv:1901.08573): accuracy on clean images, and similar answers near them."""

from typing import Annotated

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor

from robustlab.core.spec import register
from robustlab.threats import ThreatModel
from robustlab.training.objectives.adversarial import (
    START_STD,
    AdversarialObjective,
    climb,
    near,
    require_bounded,
    searching,
)
from robustlab.training.objectives.base import cross_entropy
from robustlab.training.step import TrainingStep


@register("trades")
class Trades(AdversarialObjective):
    """Cross-entropy on clean images plus ``beta`` times KL(clean answer || answer at the worst near point).

    The search for the worst point runs in eval mode, as in the authors' code, with steps along the gradient
    of the divergence. The loss is computed in train mode, and its gradient flows through both answers.
    """

    threat: ThreatModel
    beta: Annotated[float, Field(ge=0.0)] = 6.0
    """The weight of the divergence (1 / lambda in the paper); 0 is cross-entropy."""
    steps: Annotated[int, Field(ge=1)] = 10
    rel_step_size: Annotated[float, Field(gt=0.0)] = 0.25
    """Step length as a fraction of eps."""

    def __post_init__(self) -> None:
        require_bounded(self.threat)

    def perturbed(self, step: TrainingStep) -> Tensor:
        if self.beta == 0:
            return step.images
        with searching(step, train_mode=False):
            with torch.no_grad():
                natural = step.network(step.images).float()
            return climb(
                step,
                self.threat,
                near(step, START_STD),
                lambda logits: _divergence(natural, logits),
                steps=self.steps,
                rel_step_size=self.rel_step_size,
            )

    def loss_at(self, step: TrainingStep, points: Tensor) -> Tensor:
        if self.beta == 0:
            return cross_entropy(step)
        natural = step.network(step.images).float()
        robust = _divergence(natural, step.network(points).float()) / len(step.images)
        return F.cross_entropy(natural, step.labels) + self.beta * robust


def _divergence(natural: Tensor, moved: Tensor) -> Tensor:
    """Return KL(softmax(natural) || softmax(moved)), summed over the images."""
    return F.kl_div(moved.log_softmax(dim=1), natural.log_softmax(dim=1), reduction="sum", log_target=True)
