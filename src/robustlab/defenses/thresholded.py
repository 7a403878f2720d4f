"""Black or white pixels, as for MNIST in Schott et al. 2019 (arXiv:1805.09190) and Chen et al. 2018.

Chen et al. (arXiv:1805.07816) show that this helps where pixels are nearly black or white anyway. It is a
property of the data, not a defense in general.
"""

from collections import OrderedDict
from collections.abc import Mapping
from typing import Annotated, ClassVar

from pydantic import Field
from torch import nn

from robustlab.core.spec import BareText, register
from robustlab.defenses.base import ComposedDefense
from robustlab.models.thresholded import Threshold


@register("thresholded")
class Thresholded(ComposedDefense):
    """Make every pixel 0 or 1, then classify.

    Gradients pass through the threshold as if it were the identity, so that attacks need no stand-in. The
    model ``thresholded`` trains a network behind the threshold, and `ibp_training` one that can be certified.
    """

    network_kinds: ClassVar[Mapping[str, str]] = {"classifier": "classifier"}
    classifier: BareText
    """The network that classifies the black and white image."""
    at: Annotated[float, Field(gt=0.0, le=1.0)] = 0.5
    """The lowest pixel value that becomes 1."""

    def compose(self, networks: Mapping[str, nn.Module]) -> nn.Module:
        parts = OrderedDict(transform=Threshold(self.at), classifier=networks[self.classifier])
        return nn.Sequential(parts).eval()
