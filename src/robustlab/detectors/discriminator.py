"""A GAN's discriminator as an anomaly detector: an image that it classifies as fake is suspicious.

At the game's equilibrium D(x) is 0.5 everywhere (Goodfellow et al. 2014, arXiv:1406.2661, section 4.1), so
the natural threshold is an arbitrary point of the score.
"""

from collections.abc import Mapping
from typing import ClassVar

from torch import Tensor, nn

from robustlab.core.spec import register
from robustlab.detectors.base import Detector


@register("discriminator")
class Discriminator(Detector):
    """Minus the discriminator's logit, so that a score above 0 means D(x) < 0.5."""

    natural_threshold: ClassVar[float | None] = 0.0
    network_kinds: ClassVar[Mapping[str, str]] = {"network": "gan"}
    network: str

    def score(self, networks: Mapping[str, nn.Module], images: Tensor) -> Tensor:
        logits: Tensor = networks[self.network](images)
        return -logits
