"""Black or white pixels, as for MNIST in Schott et al. 2019 (arXiv:1805.09190) and Chen et al. 2018.

Chen et al. (arXiv:1805.07816) show that this helps where pixels are nearly black or white anyway. It is a
property of the data, not a defense in general.
"""

from collections import OrderedDict
from collections.abc import Mapping
from typing import Annotated, ClassVar

from pydantic import Field
from torch import Tensor, nn

from robustlab.core.spec import BareText, register
from robustlab.defenses.base import ComposedDefense


class Threshold(nn.Module):
    """Makes pixels 1 where they are at least a threshold, else 0. The gradient is zero."""

    def __init__(self, at: float) -> None:
        super().__init__()
        self.at = at

    def forward(self, images: Tensor) -> Tensor:
        # Interval bounds know these functions, but no comparison. A difference in floating point has the
        # sign of the exact one.
        return ((images - self.at).floor() + 1).clamp(0, 1)


@register("thresholded")
class Thresholded(ComposedDefense):
    """Make every pixel 0 or 1, then classify.

    The gradient is zero. Attacks need a stand-in for the part ``transform``, such as
    ``pgd(gradient=bpda(part=transform))``, or no gradients. Interval bounds pass through the threshold.
    """

    network_kinds: ClassVar[Mapping[str, str]] = {"classifier": "classifier"}
    classifier: BareText
    """The network that classifies the black and white image."""
    at: Annotated[float, Field(gt=0.0, le=1.0)] = 0.5
    """The lowest pixel value that becomes 1."""

    def compose(self, networks: Mapping[str, nn.Module]) -> nn.Module:
        parts = OrderedDict(transform=Threshold(self.at), classifier=networks[self.classifier])
        return nn.Sequential(parts).eval()
