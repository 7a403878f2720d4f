"""Classifiers that classify noisy copies of each image, and answer with the mean probability.

As used by randomized smoothing (Cohen, Rosenfeld & Kolter 2019, arXiv:1902.02918) and by purification that
begins with noise (Nie et al. 2022, arXiv:2205.07460).
"""

import math
from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor, nn

from robustlab.core import seeding
from robustlab.core.arguments import MAX_SAMPLES

Votes = Annotated[int, Field(ge=1, le=MAX_SAMPLES)]
"""How many noisy copies of an image are classified; one forward pass costs as much as that many."""

Seed = Annotated[int, Field(ge=0)] | None
"""Of the noise. None: new noise in each forward pass, so the classifier is random and attacks need
``--eot-samples``. A number: always the same noise, for every image, which the attacker knows."""


class NoisyCopies(nn.Module):
    """Copies of each image with Gaussian noise of a standard deviation on the pixel scale; not clipped."""

    def __init__(self, std: float, copies: int, seed: int | None) -> None:
        super().__init__()
        self.std, self.copies, self.seed = std, copies, seed

    def forward(self, images: Tensor) -> Tensor:
        """Return (copies * N, C, H, W): all images once, then all again."""
        noise = self._noise(images).to(images)
        return (images + self.std * noise).flatten(0, 1)

    def _noise(self, images: Tensor) -> Tensor:
        if self.seed is None:
            return torch.randn(self.copies, *images.shape, device=images.device, dtype=images.dtype)
        ids = torch.arange(self.copies, device=images.device)
        # The same for each image: what depended on the image would change with it, or with its batch.
        return seeding.normal(seeding.derive(self.seed, "copies"), ids, tuple(images.shape[1:]))[:, None]


class MeanOfCopies(nn.Module):
    """Classifies noisy copies of each image; its logits are the logarithms of the mean probabilities.

    Attributes:
        noise: makes the copies.
        classifier: classifies each.
    """

    def __init__(self, noise: NoisyCopies, classifier: nn.Module) -> None:
        super().__init__()
        self.noise, self.classifier = noise, classifier

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.classifier(self.noise(images))
        each = logits.view(self.noise.copies, len(images), -1).log_softmax(dim=2)
        mean: Tensor = each.logsumexp(dim=0) - math.log(self.noise.copies)
        return mean
