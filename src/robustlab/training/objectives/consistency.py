"""Consistent answers under noise (Jeong & Shin 2020, arXiv:2006.04062), for randomized smoothing."""

import math
from typing import Annotated

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor

from robustlab.core import seeding
from robustlab.core.spec import PixelLength, register
from robustlab.training.objectives.base import Objective
from robustlab.training.step import TrainingStep


@register("consistency")
class Consistency(Objective):
    """Cross-entropy on noisy copies of each image, and the divergence of their answers from the mean answer.

    The noise is Gaussian and not clipped. Copies of an image that get the same class give the smoothed
    classifier a larger certified radius.
    """

    std: PixelLength
    """Of the noise, in pixel units."""
    copies: Annotated[int, Field(ge=2)] = 2
    """Noisy copies of each image."""
    weight: Annotated[float, Field(ge=0.0)] = 20.0
    """Of the Kullback-Leibler divergence of the mean answer from each answer."""
    entropy: Annotated[float, Field(ge=0.0)] = 0.5
    """The weight of the entropy of the mean answer."""

    def loss(self, step: TrainingStep) -> Tensor:
        answers = self._answers(step)
        mean = answers.logsumexp(dim=0) - math.log(self.copies)
        right = F.nll_loss(answers.flatten(0, 1), step.labels.repeat(self.copies))
        divergence = (mean.exp() * (mean - answers)).sum(dim=2).mean()
        entropy = -(mean.exp() * mean).sum(dim=1).mean()
        loss: Tensor = right + self.weight * divergence + self.entropy * entropy
        return loss

    def _answers(self, step: TrainingStep) -> Tensor:
        """Return the logarithms (copies, N, K) of the probabilities."""
        size = tuple(step.images.shape[1:])
        noise = [
            seeding.normal(step.draw_key("consistency", copy), step.ids, size) for copy in range(self.copies)
        ]
        noisy = step.images + self.std * torch.stack(noise)
        logits: Tensor = step.network(noisy.flatten(0, 1)).float()
        return logits.view(self.copies, len(step.images), -1).log_softmax(dim=2)
