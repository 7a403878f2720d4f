"""Denoising diffusion model (Ho, Jain & Abbeel 2020, arXiv:2006.11239) in continuous time.

At time t in [0, 1] a point is ``cos(pi t / 2) * image + sin(pi t / 2) * noise``, with the image brought to
[-1, 1] and standard normal noise: the cosine schedule of Nichol & Dhariwal 2021 (arXiv:2102.09672) without
its offset.
"""

import math
from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor, nn

from robustlab.core.spec import register
from robustlab.models.base import Model, Shape
from robustlab.models.unet import UNet


def mixture(time: Tensor) -> tuple[Tensor, Tensor]:
    """Return the shares of the image and of the noise at times in [0, 1]; their squares add up to 1."""
    return torch.cos(time * (math.pi / 2)), torch.sin(time * (math.pi / 2))


def time_of(std: float) -> float:
    """Return the time, in [0, 1), at which the noise has a standard deviation on the pixel scale.

    A point divided by the share of the image is the image in [-1, 1] plus noise of std tan(pi t / 2), which
    is twice as long as on the pixel scale.
    """
    return math.atan(2 * std) * 2 / math.pi


class DiffusionNetwork(nn.Module):
    """Estimates the noise in a point."""

    def __init__(self, shape: Shape, channels: int) -> None:
        super().__init__()
        self.unet = UNet(shape.channels, channels)

    def forward(self, points: Tensor, time: Tensor) -> Tensor:
        """Return the estimated noise (N, C, H, W), of std 1, in points (N, C, H, W) at times (N,)."""
        noise: Tensor = self.unet(points, time)
        return noise if noise.dtype == torch.float64 else noise.float()


@register("diffusion")
class Diffusion(Model):
    """A U-Net with maps of ``channels``, 2 and 4 times as many, that estimates noise at any time."""

    network_kind = "diffusion model"
    channels: Annotated[int, Field(ge=1)] = 24
    """Filters of the first convolution."""

    def build(self, shape: Shape) -> DiffusionNetwork:
        return DiffusionNetwork(shape, self.channels)
