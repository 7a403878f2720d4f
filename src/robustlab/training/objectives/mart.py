"""MART: Wang, Zou, Yi, Bailey, Ma & Gu, "Improving adversarial robustness requires revisiting misclassified
examples", ICLR 2020."""

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
from robustlab.training.step import TrainingStep


@register("mart")
class Mart(AdversarialObjective):
    """Boosted cross-entropy there, plus ``beta`` times the divergence, which counts more where it errs.

    The points are those of the highest cross-entropy, searched for with the network in eval mode. The boosted
    cross-entropy also lowers the highest other probability. Each image's divergence from the clean answer is
    weighted by one minus the probability that the clean answer gives to the label (the paper's equation 11).
    """

    threat: ThreatModel
    beta: Annotated[float, Field(ge=0.0)] = 5.0
    """The weight of the divergence (lambda in the paper); 0 is the boosted cross-entropy alone."""
    steps: Annotated[int, Field(ge=1)] = 10
    rel_step_size: Annotated[float, Field(gt=0.0)] = 0.25
    """Step length as a fraction of eps."""

    def __post_init__(self) -> None:
        require_bounded(self.threat)

    def perturbed(self, step: TrainingStep) -> Tensor:
        with searching(step, train_mode=False):
            return climb(
                step,
                self.threat,
                near(step, START_STD),
                steps=self.steps,
                rel_step_size=self.rel_step_size,
            )

    def loss_at(self, step: TrainingStep, points: Tensor) -> Tensor:
        natural = step.network(step.images).float().log_softmax(dim=1)
        moved = step.network(points).float().log_softmax(dim=1)
        here = step.labels[:, None]
        divergence = F.kl_div(moved, natural, reduction="none", log_target=True).sum(dim=1)
        doubt = 1 - natural.gather(1, here).squeeze(1).exp()
        losses: Tensor = boosted_cross_entropy(moved, step.labels) + self.beta * divergence * doubt
        return losses.mean()


def boosted_cross_entropy(log_shares: Tensor, labels: Tensor) -> Tensor:
    """Return (N,) the sum of two: -log of the label's probability, -log of 1 minus the best other one's.

    Args:
        log_shares: (N, K) logarithms of probabilities.
        labels: (N,).
    """
    here = labels[:, None]
    rival = log_shares.scatter(1, here, -torch.inf).argmax(dim=1, keepdim=True)
    # The sum of all others, and not 1 minus the rival's, which float32 rounds to 0 where that is near 1.
    rest = log_shares.scatter(1, rival, -torch.inf).logsumexp(dim=1)
    return -log_shares.gather(1, here).squeeze(1) - rest
