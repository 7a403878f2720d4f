"""Variational autoencoder (Kingma & Welling 2014, arXiv:1312.6114) with one hidden layer on each side."""

from typing import Annotated

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from robustlab.core.spec import register
from robustlab.models.base import Model, Shape


class VAENetwork(nn.Module):
    """Encoder to a Gaussian over the latent code, decoder back to an image."""

    def __init__(self, shape: Shape, hidden: int, latent: int) -> None:
        super().__init__()
        self.image = shape.image
        self.latent = latent
        self.encoder = nn.Linear(shape.pixels, hidden)
        self.mean = nn.Linear(hidden, latent)
        self.log_variance = nn.Linear(hidden, latent)
        self.decoder = nn.Linear(latent, hidden)
        self.output = nn.Linear(hidden, shape.pixels)

    def encode(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Return mean and log-variance of the code, each (N, latent)."""
        hidden = F.relu(self.encoder(images.flatten(1)))
        return self.mean(hidden).float(), self.log_variance(hidden).float()

    def generate(self, code: Tensor) -> Tensor:
        """Return the images (N, C, H, W) in [0, 1] of codes (N, latent)."""
        pixels = torch.sigmoid(self.output(F.relu(self.decoder(code))).float())
        return pixels.view(len(code), *self.image)

    def forward(self, images: Tensor) -> Tensor:
        """Return the reconstruction from the mean code: deterministic, so that attacks can be measured."""
        return self.generate(self.encode(images)[0])


@register("vae")
class VAE(Model):
    """Pixels -> hidden -> latent mean and log-variance -> hidden -> pixels, sigmoid."""

    network_kind = "autoencoder"
    hidden: Annotated[int, Field(ge=1)] = 400
    latent: Annotated[int, Field(ge=1)] = 20

    def build(self, shape: Shape) -> VAENetwork:
        return VAENetwork(shape, self.hidden, self.latent)
