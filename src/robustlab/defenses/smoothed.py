"""A smoothed classifier (Cohen, Rosenfeld & Kolter 2019, arXiv:1902.02918), estimated by a few copies."""

from collections.abc import Mapping
from typing import Annotated, ClassVar

from pydantic import Field
from torch import nn

from robustlab.core.spec import BareText, register
from robustlab.defenses.base import ComposedDefense
from robustlab.models.randomized import MeanOfCopies, NoisyCopies, Seed, Votes


@register("smoothed")
class Smoothed(ComposedDefense):
    """Add Gaussian noise to copies of every image, classify each, and take the mean of the probabilities.

    The paper takes the most frequent class, which has no gradient. The certifier `smoothing` certifies radii
    for that class over all noise; this composition, which attacks see, estimates it by a few copies.
    """

    network_kinds: ClassVar[Mapping[str, str]] = {"classifier": "classifier"}
    classifier: BareText
    """The network that classifies each copy; best one that was trained with such noise."""
    sigma: Annotated[float, Field(gt=0.0, le=1.0)] = 0.25
    """Standard deviation of the noise on the pixel scale."""
    votes: Votes = 10
    """Noisy copies of each image, whose probabilities are averaged."""
    seed: Seed = None
    """A known noise, the same for every image; None: new noise at each call."""

    def compose(self, networks: Mapping[str, nn.Module]) -> nn.Module:
        noise = NoisyCopies(self.sigma, self.votes, self.seed)
        return MeanOfCopies(noise, networks[self.classifier]).eval()
