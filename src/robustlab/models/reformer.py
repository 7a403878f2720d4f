"""The tiny autoencoder of MagNet (Meng & Chen 2017, arXiv:1705.09064), which the paper calls a reformer."""

from typing import Annotated

from pydantic import Field
from torch import nn

from robustlab.core.spec import register
from robustlab.models.base import Model, Pixels, Shape


@register("reformer")
class Reformer(Model):
    """Convolutions of ``channels`` 3x3 filters, each with a sigmoid, at full size, at half and at full size.

    The paper trains it on images with noise: objective ``denoising``.
    """

    network_kind = "autoencoder"
    channels: Annotated[int, Field(ge=1)] = 3
    """Filters of the first convolution."""

    def build(self, shape: Shape) -> nn.Module:
        inner = self.channels

        def convolution(before: int) -> list[nn.Module]:
            return [nn.Conv2d(before, inner, kernel_size=3, padding=1), nn.Sigmoid()]

        return nn.Sequential(
            *convolution(shape.channels),
            nn.AvgPool2d(2, ceil_mode=True),
            *convolution(inner),
            *convolution(inner),
            nn.Upsample(size=(shape.height, shape.width)),
            *convolution(inner),
            nn.Conv2d(inner, shape.channels, kernel_size=3, padding=1),
            Pixels(),
        )
