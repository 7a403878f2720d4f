"""Variational autoencoder (Kingma & Welling 2014, arXiv:1312.6114) with one hidden layer on each side."""

from abc import ABC, abstractmethod
from typing import Annotated

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from robustlab.core.spec import register
from robustlab.models.base import Model, Shape


class VariationalAutoencoder(nn.Module, ABC):
    """Encoder to a Gaussian over the latent code, decoder back to an image.

    Attributes:
        latent: the numbers in a code.
    """

    latent: int

    @abstractmethod
    def encode(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Return mean and log-variance of the code, each (N, latent) float32."""

    @abstractmethod
    def generate(self, code: Tensor) -> Tensor:
        """Return the images (N, C, H, W) in [0, 1] that codes (N, latent) stand for."""

    def forward(self, images: Tensor) -> Tensor:
        """Return the reconstruction from the mean code: deterministic, as a defense should be judged."""
        return self.generate(self.encode(images)[0])


class VAENetwork(VariationalAutoencoder):
    """A variational autoencoder of linear layers."""

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
        hidden = F.relu(self.encoder(images.flatten(1)))
        return self.mean(hidden).float(), self.log_variance(hidden).float()

    def generate(self, code: Tensor) -> Tensor:
        pixels = torch.sigmoid(self.output(F.relu(self.decoder(code))).float())
        return pixels.view(len(code), *self.image)


@register("vae")
class VAE(Model):
    """Pixels -> hidden -> latent mean and log-variance -> hidden -> pixels, sigmoid."""

    network_kind = "autoencoder"
    generative = True
    hidden: Annotated[int, Field(ge=1)] = 400
    latent: Annotated[int, Field(ge=1)] = 20

    def build(self, shape: Shape) -> VAENetwork:
        return VAENetwork(shape, self.hidden, self.latent)
