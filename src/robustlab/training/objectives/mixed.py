"""Clean and adversarial images in one batch (Kurakin, Goodfellow & Bengio 2017, arXiv:1611.01236)."""

from dataclasses import replace
from typing import Annotated

from pydantic import Field
from torch import Tensor

from robustlab.attacks import FGSM, Attack
from robustlab.core import seeding
from robustlab.core.spec import register
from robustlab.threats import ThreatModel
from robustlab.training.objectives.adversarial import AdversarialObjective, as_search, attacked
from robustlab.training.step import TrainingStep


@register("mixed")
class Mixed(AdversarialObjective):
    """Cross-entropy on batches of which a share is attacked, against the network as it is at the step.

    The defense `adversarial_training` makes its images once, against another network; these are made at each
    step. The share is kept in every batch, up to the rounding to whole images; which ones is drawn.
    """

    threat: ThreatModel
    attack: Attack = FGSM()
    """`fgsm`, or a `pgd` without restarts, from a random start or from the clean image."""
    fraction: Annotated[float, Field(ge=0.0, le=1.0)] = 0.3
    """The share of attacked images."""

    def __post_init__(self) -> None:
        as_search(self.attack, self.threat)

    def perturbed(self, step: TrainingStep) -> Tensor:
        draws = seeding.uniform(seeding.derive(step.key, "mixed"), step.ids, (1,)).squeeze(1)
        rows = draws.argsort()[: round(self.fraction * len(draws))]
        if not len(rows):
            return step.images
        part = replace(step, images=step.images[rows], labels=step.labels[rows], ids=step.ids[rows])
        return step.images.index_copy(
            0, rows, attacked(part, self.threat, as_search(self.attack, self.threat))
        )
