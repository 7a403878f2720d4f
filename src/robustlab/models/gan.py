"""Generative adversarial network (Goodfellow et al. 2014, arXiv:1406.2661) of linear layers."""

from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor, nn

from robustlab.core.spec import register
from robustlab.models.base import Model, Normalize, Shape


class GANNetwork(nn.Module):
    """A generator (code to image) and a discriminator (image to a logit, high = real)."""

    def __init__(self, shape: Shape, hidden: int, latent: int, dropout: float) -> None:
        super().__init__()
        self.image = shape.image
        self.latent = latent
        self.generator = nn.Sequential(
            nn.Linear(latent, hidden // 2),
            nn.LeakyReLU(0.2),
            nn.Linear(hidden // 2, hidden),
            nn.LeakyReLU(0.2),
            nn.Linear(hidden, shape.pixels),
            nn.Sigmoid(),
        )
        self.discriminator = nn.Sequential(
            Normalize(),
            nn.Flatten(),
            nn.Linear(shape.pixels, hidden),
            nn.LeakyReLU(0.2),
            nn.Dropout(dropout),
            nn.Linear(hidden, hidden // 2),
            nn.LeakyReLU(0.2),
            nn.Dropout(dropout),
            nn.Linear(hidden // 2, 1),
        )

    def generate(self, code: Tensor) -> Tensor:
        """Return images (N, C, H, W) in [0, 1] for codes (N, latent)."""
        images: Tensor = self.generator(code)
        return images.float().view(len(code), *self.image)

    def forward(self, images: Tensor) -> Tensor:
        """Return the discriminator's logits (N,); the sigmoid of one is D(x)."""
        logits: Tensor = self.discriminator(images)
        return logits.float().squeeze(1)

    def realness(self, images: Tensor) -> Tensor:
        """Return D(x), (N,) in [0, 1]."""
        return torch.sigmoid(self(images))


@register("gan")
class GAN(Model):
    """Generator latent -> hidden/2 -> hidden -> pixels; discriminator the other way round."""

    network_kind = "gan"
    generative = True
    hidden: Annotated[int, Field(ge=2)] = 512
    latent: Annotated[int, Field(ge=1)] = 64
    dropout: Annotated[float, Field(ge=0.0, lt=1.0)] = 0.3

    def build(self, shape: Shape) -> GANNetwork:
        return GANNetwork(shape, self.hidden, self.latent, self.dropout)
