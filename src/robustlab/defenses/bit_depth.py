"""Fewer bits per pixel: feature squeezing (Xu, Evans & Qi 2018, arXiv:1704.01155)."""

from collections import OrderedDict
from collections.abc import Mapping
from typing import Annotated, ClassVar

from pydantic import Field
from torch import Tensor, nn

from robustlab.core.spec import BareText, register
from robustlab.defenses.base import ComposedDefense


class FewerBits(nn.Module):
    """Rounds pixels to 2^bits levels from 0 to 1; halves go to the even level. The gradient is zero."""

    def __init__(self, bits: int) -> None:
        super().__init__()
        self.levels = 2**bits - 1

    def forward(self, images: Tensor) -> Tensor:
        levels: Tensor = (images * self.levels).round() / self.levels
        return levels.clamp(0, 1)


@register("bit_depth")
class BitDepth(ComposedDefense):
    """Round every pixel to so many bits, then classify.

    The gradient is zero. Attacks need a stand-in for the part ``transform``, such as
    ``pgd(gradient=bpda(part=transform))``, or no gradients. Interval bounds pass through the rounding.
    """

    network_kinds: ClassVar[Mapping[str, str]] = {"classifier": "classifier"}
    classifier: BareText
    """The network that classifies the rounded image."""
    bits: Annotated[int, Field(ge=1, le=8)] = 1
    """Bits per pixel."""

    def compose(self, networks: Mapping[str, nn.Module]) -> nn.Module:
        parts = OrderedDict(transform=FewerBits(self.bits), classifier=networks[self.classifier])
        return nn.Sequential(parts).eval()
