"""Adversarial training (Madry et al. 2018, arXiv:1706.06083): at each step on PGD's images."""

from typing import Annotated

from pydantic import Field
from torch import Tensor

from robustlab.attacks import PGD, Attack
from robustlab.core.spec import register
from robustlab.threats import ThreatModel
from robustlab.training.objectives.adversarial import AdversarialObjective, as_search, attacked
from robustlab.training.objectives.base import cross_entropy
from robustlab.training.step import TrainingStep


@register("pgd_training")
class PGDTraining(AdversarialObjective):
    """Cross-entropy on the images that PGD finds on the current network.

    The network stays in train mode during the search, as in the authors' code. Each image becomes the
    search's last point, misclassified or not. With a large eps a new network may give all images the same
    answer for many epochs; the loss is then the logarithm of the number of classes. A ``clean`` of 0.5 helps
    against that (LOG.md, "Objectives that attack the network in training").
    """

    threat: ThreatModel
    attack: Attack = PGD(steps=10, rel_step_size=0.25)
    """`fgsm`, or a `pgd` without restarts, from a random start or from the clean image."""
    clean: Annotated[float, Field(ge=0.0, le=1.0)] = 0.0
    """The weight of the loss on the clean images; the adversarial loss has the weight ``1 - clean``."""

    def __post_init__(self) -> None:
        as_search(self.attack, self.threat)

    def perturbed(self, step: TrainingStep) -> Tensor:
        if self.clean == 1:
            return step.images
        return attacked(step, self.threat, as_search(self.attack, self.threat))

    def loss_at(self, step: TrainingStep, points: Tensor) -> Tensor:
        if self.clean == 1:
            return cross_entropy(step)
        loss = cross_entropy(step, points)
        return loss if self.clean == 0 else (1 - self.clean) * loss + self.clean * cross_entropy(step)
