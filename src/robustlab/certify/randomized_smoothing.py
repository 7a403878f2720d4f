"""Randomized smoothing as a certifier of smoothed classifiers, in L2 (Cohen et al. 2019, arXiv:1902.02918).

A certificate is about the classifier that answers with the most frequent class over all noise. The ones that
robustlab attacks (`smoothed`, `diffusion_purifier`) estimate it by the mean of a few noisy copies. So only
these are certified, with their own noise, and a certificate is not compared with attacks as a proof is. It
says nothing about another classifier, such as one with a fixed noise that the attacker knows.
"""

import hashlib
from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor, nn

from robustlab.certify.base import Certifier, ProofResult
from robustlab.certify.interval import NoRuleError
from robustlab.certify.smoothing import smoothed_radii
from robustlab.core.arguments import LARGEST_COUNT
from robustlab.core.spec import register
from robustlab.models.randomized import MeanOfCopies, NoisyCopies
from robustlab.threats import ThreatModel


@register("smoothing")
class Smoothing(Certifier):
    """Certify the most frequent class over Gaussian noise, with a confidence below 1; not a proof.

    An image for which it abstains counts as not certified, at any eps.
    """

    norms = ("l2",)
    at_once = 1

    n: Annotated[int, Field(ge=1, le=LARGEST_COUNT)] = 1000
    """Noisy copies of an image that bound the probability of its class; each is a forward pass."""
    n0: Annotated[int, Field(ge=1, le=LARGEST_COUNT)] = 100
    """Noisy copies before these that choose the class."""
    alpha: Annotated[float, Field(gt=0.0, lt=1.0)] = 0.001
    """The accepted probability, for each image by itself, that its certificate is wrong."""
    seed: Annotated[int, Field(ge=0)] = 0
    """Of the noise, which also depends on the image's pixels."""

    @property
    def confidence(self) -> float:
        return 1 - self.alpha

    def bounded_part(self, model: nn.Module) -> nn.Module:
        return noisy_part(model)[0]

    def prove(self, model: nn.Module, images: Tensor, labels: Tensor, threat: ThreatModel) -> ProofResult:
        base, sigma = noisy_part(model)
        # A number for each image that depends on nothing else.
        ids = [
            int.from_bytes(hashlib.sha256(image.float().cpu().numpy().tobytes()).digest()[:7], "big")
            for image in images
        ]
        radii = smoothed_radii(
            base,
            images,
            sigma=sigma,
            n0=self.n0,
            n=self.n,
            alpha=self.alpha,
            ids=torch.tensor(ids),
            seed=self.seed,
        )
        certified = radii.certified(labels.cpu(), threat.eps).to(labels.device)
        passes = torch.full_like(labels, self.n0 + self.n)
        return ProofResult(certified, passes, torch.zeros_like(passes))


def noisy_part(model: nn.Module) -> tuple[nn.Module, float]:
    """Return the base classifier of a smoothed one, and the standard deviation of its noise.

    Raises:
        NoRuleError: it is another kind of classifier, or its noise is fixed.
    """
    if type(model) is not MeanOfCopies or type(model.noise) is not NoisyCopies:
        raise NoRuleError(
            "smoothing certifies only smoothed classifiers, such as smoothed(classifier=mnist_cnn), "
            "without --mean, --std and --scale"
        )
    if model.noise.seed is not None:
        raise NoRuleError("smoothing certifies over all noise; this one's is fixed: leave out its seed")
    return model.classifier, model.noise.std
