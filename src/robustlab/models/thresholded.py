"""A classifier that sees black and white pixels, from its first training step on.

A threshold suits images whose pixels are nearly black or white anyway, such as MNIST's (Schott et al. 2019,
arXiv:1805.09190; Chen et al. 2018, arXiv:1805.07816). It is a property of the data, not a defense in general.
"""

from collections import OrderedDict
from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor, nn

from robustlab.core.spec import register
from robustlab.models.base import Model, Shape, require_part

_Level = Annotated[float, Field(gt=0.0, le=1.0)]


class Threshold(nn.Module):
    """Makes pixels 1 where they are at least a threshold, else 0; the gradient is that of the identity.

    The true gradient is zero and would hide where to go. So attacks get the one that BPDA puts in its place
    (Athalye, Carlini & Wagner 2018, arXiv:1802.00420). Several thresholds turn images (N, C, H, W) into
    (N, T * C, H, W): all channels behind the first threshold, then all behind the second one.

    Args:
        at: the lowest pixel value that becomes 1, on the pixel scale; or several, (T,).
    """

    def __init__(self, at: float | tuple[float, ...]) -> None:
        super().__init__()
        self.at = at

    def forward(self, images: Tensor) -> Tensor:
        if isinstance(self.at, tuple):
            return torch.cat([_white(images, level) for level in self.at], dim=1)
        return _white(images, self.at)


def _white(images: Tensor, level: float) -> Tensor:
    # A difference in floating point has the sign of the exact one, and bounds know this function.
    at_zero = torch.ones((), dtype=images.dtype, device=images.device)
    values = torch.heaviside(images.detach() - level, at_zero)
    # Adding zero does not change a bit of the values.
    return values + (images - images.detach()) if images.requires_grad else values


@register("thresholded")
class ThresholdedModel(Model):
    """Another architecture behind a threshold that makes every pixel 0 or 1.

    Attacks, proofs and trainings see both as one network. Gradients pass through the threshold as if it were
    the identity. `ibp_training` bounds the architecture on the black and white images that an attacker can
    reach. In a network of your own, use the module `Threshold`.

    With several thresholds the architecture gets a channel for each (a thermometer code, Buckman et al.
    2018). A grey pixel that an attacker can move across one of them may be safe from another one.
    """

    classifier: Model
    """The architecture that classifies the black and white image."""
    at: _Level | tuple[_Level, ...] = 0.5
    """The lowest pixel value that becomes 1; or several thresholds, the lowest first."""

    def __post_init__(self) -> None:
        require_part("classifier", self.classifier, "classifier")
        if isinstance(self.at, tuple) and (not self.at or list(self.at) != sorted(set(self.at))):
            raise ValueError(f"at must be one threshold, or several from low to high, found {self.at}")

    def build(self, shape: Shape) -> nn.Module:
        count = len(self.at) if isinstance(self.at, tuple) else 1
        behind = shape._replace(channels=count * shape.channels)
        parts = OrderedDict(transform=Threshold(self.at), classifier=self.classifier.build(behind))
        return nn.Sequential(parts)
