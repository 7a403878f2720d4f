"""Adversarial training (Madry et al. 2018, arXiv:1706.06083): at each step on PGD's images."""

from typing import Annotated

import torch.nn.functional as F
from pydantic import Field
from torch import Tensor

from robustlab.attacks import PGD, Attack
from robustlab.attacks.losses import measure
from robustlab.core import seeding
from robustlab.core.spec import register
from robustlab.threats import ThreatModel
from robustlab.training.objectives.adversarial import AdversarialObjective, climb, searching
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
    """A `pgd` without restarts, from a random start or from the clean image."""
    clean: Annotated[float, Field(ge=0.0, le=1.0)] = 0.0
    """The weight of the loss on the clean images; the adversarial loss has the weight ``1 - clean``."""

    def __post_init__(self) -> None:
        attack = self.attack
        if not isinstance(attack, PGD) or attack.restarts != 1 or attack.start not in ("random", "clean"):
            example = "pgd(steps=10, rel_step_size=0.25)"
            raise ValueError(
                f"attack must be a pgd with restarts=1, start=random or clean; such as {example}"
            )
        if not attack.supports(self.threat):
            raise ValueError(f"{attack.name} supports {attack.supported_norms}, not {self.threat!r}")

    def adversarial_loss(self, step: TrainingStep) -> Tensor:
        if self.clean == 1:
            return cross_entropy(step)
        points = self.perturbed(step)
        loss = F.cross_entropy(step.network(points).float(), step.labels)
        return loss if self.clean == 0 else (1 - self.clean) * loss + self.clean * cross_entropy(step)

    def perturbed(self, step: TrainingStep) -> Tensor:
        """Return the images (N, C, H, W) on which the step trains."""
        attack, start = self.attack, step.images
        assert isinstance(attack, PGD)
        if attack.start == "random":
            start = self.threat.random_start(start, seeding.derive(step.key, "start"), step.ids)
        with searching(step, train_mode=True):
            return climb(
                step.network,
                self.threat,
                step.images,
                start,
                lambda logits: measure(attack.loss, logits, step.labels).sum(),
                steps=attack.steps,
                rel_step_size=attack.rel_step_size,
            )
