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


class Threshold(nn.Module):
    """Makes pixels 1 where they are at least a threshold, else 0; the gradient is that of the identity.

    The true gradient is zero and would hide where to go. So attacks get the one that BPDA puts in its place
    (Athalye, Carlini & Wagner 2018, arXiv:1802.00420).

    Args:
        at: the lowest pixel value that becomes 1, on the pixel scale.
    """

    def __init__(self, at: float) -> None:
        super().__init__()
        self.at = at

    def forward(self, images: Tensor) -> Tensor:
        # A difference in floating point has the sign of the exact one, and bounds know this function.
        at_zero = torch.ones((), dtype=images.dtype, device=images.device)
        values = torch.heaviside(images.detach() - self.at, at_zero)
        # Adding zero does not change a bit of the values.
        return values + (images - images.detach()) if images.requires_grad else values


@register("thresholded")
class ThresholdedModel(Model):
    """Another architecture behind a threshold that makes every pixel 0 or 1.

    Attacks, proofs and trainings see both as one network. Gradients pass through the threshold as if it were
    the identity. `ibp_training` bounds the architecture on the black and white images that an attacker can
    reach. In a network of your own, use the module `Threshold`.
    """

    classifier: Model
    """The architecture that classifies the black and white image."""
    at: Annotated[float, Field(gt=0.0, le=1.0)] = 0.5
    """The lowest pixel value that becomes 1."""

    def __post_init__(self) -> None:
        require_part("classifier", self.classifier, "classifier")

    def build(self, shape: Shape) -> nn.Module:
        parts = OrderedDict(transform=Threshold(self.at), classifier=self.classifier.build(shape))
        return nn.Sequential(parts)
