"""Denoising autoencoder (Vincent et al. 2008, doi:10.1145/1390156.1390294) of convolutions."""

from typing import Annotated

from pydantic import Field
from torch import nn

from robustlab.core.spec import register
from robustlab.models.base import Model, Normalize, Pixels, Shape
from robustlab.models.convolutions import decoder, encoder


@register("denoising_autoencoder")
class DenoisingAutoencoder(Model):
    """Strided convolutions of ``channels`` and twice as many filters, and the same way back, sigmoid."""

    network_kind = "autoencoder"
    channels: Annotated[int, Field(ge=1)] = 32
    """Filters of the first convolution."""

    def build(self, shape: Shape) -> nn.Module:
        return nn.Sequential(
            Normalize(), *encoder(shape, self.channels), *decoder(shape, self.channels), Pixels()
        )
