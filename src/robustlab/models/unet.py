"""A small U-Net for diffusion (Ho, Jain & Abbeel 2020, arXiv:2006.11239, appendix B)."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

_GROUPS = 8


class GroupNorm(nn.GroupNorm):
    """Group normalisation that computes in fp32 under autocast, as it does on GPUs.

    On CPUs the kernel for bf16 and images in channels-last layout is five times slower than that for fp32.
    """

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002 (torch's name)
        """Return the normalised maps (N, C, H, W), of the type of the input."""
        with torch.autocast(input.device.type, enabled=False):
            return super().forward(input.to(self.weight.dtype)).to(input.dtype)


class ResidualBlock(nn.Module):
    """Two 3x3 convolutions around a shift that depends on the time, added to what came in."""

    def __init__(self, before: int, after: int, embedding: int) -> None:
        super().__init__()
        self.norm1 = GroupNorm(math.gcd(_GROUPS, before), before)
        self.conv1 = nn.Conv2d(before, after, kernel_size=3, padding=1)
        self.shift = nn.Linear(embedding, after)
        self.norm2 = GroupNorm(math.gcd(_GROUPS, after), after)
        self.conv2 = nn.Conv2d(after, after, kernel_size=3, padding=1)
        self.skip = nn.Identity() if before == after else nn.Conv2d(before, after, kernel_size=1)

    def forward(self, maps: Tensor, embedding: Tensor) -> Tensor:
        hidden = self.conv1(F.silu(self.norm1(maps))) + self.shift(embedding)[:, :, None, None]
        out: Tensor = self.skip(maps) + self.conv2(F.silu(self.norm2(hidden)))
        return out


class SelfAttention(nn.Module):
    """One head of attention among the places of a map, added to what came in."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm = GroupNorm(math.gcd(_GROUPS, channels), channels)
        self.projections = nn.Conv2d(channels, 3 * channels, kernel_size=1)
        self.output = nn.Conv2d(channels, channels, kernel_size=1)

    def forward(self, maps: Tensor) -> Tensor:
        places = self.projections(self.norm(maps)).flatten(2).transpose(1, 2)
        mixed = F.scaled_dot_product_attention(*places.chunk(3, dim=2))
        out: Tensor = maps + self.output(mixed.transpose(1, 2).reshape(maps.shape))
        return out


class UNet(nn.Module):
    """Maps of ``channels``, 2 and 4 times as many at full, half and quarter size; attention at the last.

    Args:
        colours: the channels of images, in and out.
        channels: of the maps at full size.
    """

    def __init__(self, colours: int, channels: int) -> None:
        super().__init__()
        first, second, third, embedding = channels, 2 * channels, 4 * channels, 4 * channels
        self.embedding = nn.Sequential(
            nn.Linear(2 * channels, embedding), nn.SiLU(), nn.Linear(embedding, embedding), nn.SiLU()
        )
        self.frequencies = channels
        self.stem = nn.Conv2d(colours, first, kernel_size=3, padding=1)
        self.down1 = ResidualBlock(first, first, embedding)
        self.shrink1 = nn.Conv2d(first, second, kernel_size=3, stride=2, padding=1)
        self.down2 = ResidualBlock(second, second, embedding)
        self.shrink2 = nn.Conv2d(second, third, kernel_size=3, stride=2, padding=1)
        self.middle1 = ResidualBlock(third, third, embedding)
        self.attention = SelfAttention(third)
        self.middle2 = ResidualBlock(third, third, embedding)
        self.up2 = ResidualBlock(third + second, second, embedding)
        self.up1 = ResidualBlock(second + first, first, embedding)
        self.norm = GroupNorm(math.gcd(_GROUPS, first), first)
        self.head = nn.Conv2d(first, colours, kernel_size=3, padding=1)
        # The estimate starts at zero, from where training is stable.
        nn.init.zeros_(self.head.weight)

    def forward(self, points: Tensor, time: Tensor) -> Tensor:
        """Return an estimate of the points' shape (N, C, H, W), given the time (N,) in [0, 1]."""
        embedding = self.embedding(self._waves(time).to(points.dtype))
        full = self.down1(self.stem(points), embedding)
        half = self.down2(self.shrink1(full), embedding)
        maps = self.middle1(self.shrink2(half), embedding)
        maps = self.middle2(self.attention(maps), embedding)
        maps = self.up2(_joined(maps, half), embedding)
        maps = self.up1(_joined(maps, full), embedding)
        out: Tensor = self.head(F.silu(self.norm(maps)))
        return out

    def _waves(self, time: Tensor) -> Tensor:
        """Return waves of the time (N, 2 * frequencies), with angles from 1 to 1000 at time 1."""
        speeds = torch.logspace(0, 3, self.frequencies, device=time.device, dtype=time.dtype)
        angles = time[:, None] * speeds
        return torch.cat([angles.sin(), angles.cos()], dim=1)


def _joined(small: Tensor, large: Tensor) -> Tensor:
    return torch.cat([F.interpolate(small, size=large.shape[-2:]), large], dim=1)
