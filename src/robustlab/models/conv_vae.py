"""Variational autoencoder (Kingma & Welling 2014, arXiv:1312.6114) of convolutions."""

from typing import Annotated

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from robustlab.core.spec import register
from robustlab.models.base import Model, Normalize, Shape
from robustlab.models.convolutions import decoder, encoder, halved
from robustlab.models.vae import VariationalAutoencoder


class ConvVAENetwork(VariationalAutoencoder):
    """Two strided convolutions to a map, a linear layer to the code, and the same way back."""

    def __init__(self, shape: Shape, channels: int, latent: int) -> None:
        super().__init__()
        self.latent = latent
        self.map = (2 * channels, *halved(halved((shape.height, shape.width))))
        values = self.map[0] * self.map[1] * self.map[2]
        self.encoder = nn.Sequential(Normalize(), *encoder(shape, channels), nn.Flatten())
        self.mean = nn.Linear(values, latent)
        self.log_variance = nn.Linear(values, latent)
        self.spread = nn.Linear(latent, values)
        self.decoder = nn.Sequential(*decoder(shape, channels))

    def encode(self, images: Tensor) -> tuple[Tensor, Tensor]:
        hidden = self.encoder(images)
        return self.mean(hidden).float(), self.log_variance(hidden).float()

    def generate(self, code: Tensor) -> Tensor:
        hidden = F.relu(self.spread(code)).view(len(code), *self.map)
        return torch.sigmoid(self.decoder(hidden).float())


@register("conv_vae")
class ConvVAE(Model):
    """Strided convolutions of ``channels`` and twice as many filters -> latent -> the same way back."""

    network_kind = "autoencoder"
    generative = True
    channels: Annotated[int, Field(ge=1)] = 32
    """Filters of the first convolution."""
    latent: Annotated[int, Field(ge=1)] = 16

    def build(self, shape: Shape) -> ConvVAENetwork:
        return ConvVAENetwork(shape, self.channels, self.latent)
