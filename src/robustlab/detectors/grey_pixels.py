"""A trivial detector for MNIST, which counts grey pixels; any other detector should be better."""

from collections.abc import Mapping
from typing import Annotated

from pydantic import Field
from torch import Tensor, nn

from robustlab.core.spec import register
from robustlab.detectors.base import Detector


@register("grey_pixels")
class GreyPixels(Detector):
    """The share of pixels strictly between ``margin`` and 1 - ``margin``; clean digits have few."""

    margin: Annotated[float, Field(gt=0.0, lt=0.5)] = 0.05
    """How far from black and white a pixel must be to count as grey."""

    def score(self, networks: Mapping[str, nn.Module], images: Tensor) -> Tensor:
        del networks
        return ((images > self.margin) & (images < 1 - self.margin)).float().flatten(1).mean(dim=1)
