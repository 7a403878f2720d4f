"""Noise, blur, brightness and spatter of MNIST-C (Mu & Gilmer 2019, arXiv:1906.02337), on batches.

Every function takes images (N, C, H, W) in [0, 1], the source of random numbers, and the parameters of a
severity. The result may lie outside [0, 1]. Lengths are in pixels, as in MNIST-C. Unlike in MNIST-C,
intermediate values are not rounded to 8 bits.
"""

import math
from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor


class Draws(Protocol):
    """A source of random numbers: `Session`."""

    def uniform(self, *purpose: object, shape: tuple[int, ...]) -> Tensor:
        """Return (N, *shape) uniform numbers in [0, 1)."""
        ...

    def normal(self, *purpose: object, shape: tuple[int, ...]) -> Tensor:
        """Return (N, *shape) standard normal numbers."""
        ...


def smooth(images: Tensor, down: float, across: float, mode: str = "replicate") -> Tensor:
    """Convolve with a Gaussian of the given standard deviations, in pixels, cut off at four of them."""
    for sigma, axis in ((down, 2), (across, 3)):
        reach = int(4 * sigma + 0.5)
        if reach:
            line = torch.arange(-reach, reach + 1, dtype=images.dtype, device=images.device)
            bell = (-0.5 * (line / sigma) ** 2).exp()
            padding = (0, 0, reach, reach) if axis == 2 else (reach, reach, 0, 0)
            padded = F.pad(images, padding, mode=mode).unfold(axis, 2 * reach + 1, 1)
            images = padded @ (bell / bell.sum())
    return images


def shot_noise(images: Tensor, draws: Draws, photons: int) -> Tensor:
    """Add Poisson noise: a white pixel gets ``photons`` photons on average."""
    wanted = draws.uniform("shot", shape=tuple(images.shape[1:]))
    chance = (-images * photons).exp()
    below, count = chance, torch.zeros_like(images)
    for number in range(1, photons + 1):  # more are as white as these
        count = count + (wanted >= below)
        chance = chance * images * (photons / number)
        below = below + chance
    return count / photons


def impulse_noise(images: Tensor, draws: Draws, amount: float) -> Tensor:
    """Set the share ``amount`` of the values to 0 or 1."""
    chance = draws.uniform("impulse", shape=tuple(images.shape[1:]))
    return torch.where(chance < amount / 2, 0.0, torch.where(chance < amount, 1.0, images))


def glass_blur(images: Tensor, draws: Draws, sigma: float, reach: int, rounds: int) -> Tensor:
    """Swap pixels with near ones, one after the other, between two blurs.

    The blurs are vertical only, as in MNIST-C's code, which reads grey images as rows of channels.
    """
    images = smooth(images, sigma, 0).clone()
    height, width = images.shape[2:]
    everyone = torch.arange(len(images), device=images.device)
    for turn in range(rounds):
        chance, *move = draws.uniform("glass", turn, shape=(3, height, width)).unbind(dim=1)
        swap = chance < 0.5
        down, across = ((m * 2 * reach).long() - reach for m in move)
        for row in range(height - reach, reach, -1):
            for column in range(width - reach, reach, -1):
                swapped = swap[:, row, column]
                other_row = torch.where(swapped, row + down[:, row, column], row)
                other_column = torch.where(swapped, column + across[:, row, column], column)
                here = images[:, :, row, column].clone()
                images[:, :, row, column] = images[everyone, :, other_row, other_column]
                images[everyone, :, other_row, other_column] = here
    return smooth(images, sigma, 0)


def motion_blur(images: Tensor, draws: Draws, radius: int, sigma: float) -> Tensor:
    """Average along a line to one side, at a random angle of at most 45 degrees to the right or left."""
    height, width = images.shape[2:]
    angle = (draws.uniform("motion", shape=(1,)) - 0.5) * (math.pi / 2)
    steps = torch.arange(2 * radius + 1, device=images.device)
    weights = (-0.5 * (steps / sigma) ** 2).exp()
    across, down = (steps * angle.cos()).round().long(), (steps * angle.sin()).round().long()
    everyone = torch.arange(len(images), device=images.device)[:, None, None]
    channels_last, blurred = images.movedim(1, 3), torch.zeros_like(images.movedim(1, 3))
    for step, weight in enumerate(weights / weights.sum()):
        rows = (torch.arange(height, device=images.device) + down[:, step, None]).clamp(0, height - 1)
        columns = (torch.arange(width, device=images.device) + across[:, step, None]).clamp(0, width - 1)
        blurred = blurred + weight * channels_last[everyone, rows[:, :, None], columns[:, None, :]]
    return blurred.movedim(3, 1)


def brightness(images: Tensor, draws: Draws, added: float) -> Tensor:
    """Add to each pixel's value in HSV (its largest channel); hue and saturation do not change."""
    del draws
    value = images.amax(dim=1, keepdim=True)
    brighter = (value + added).clamp(max=1.0)
    return torch.where(value > 0, images * (brighter / value.clamp(min=1e-12)), brighter)


def spatter(
    images: Tensor,
    draws: Draws,
    mean: float,
    spread: float,
    size: float,
    threshold: float,
    softness: float,
) -> Tensor:
    """Cover random spots with grey mud."""
    liquid = mean + spread * draws.normal("spatter", shape=(1, *images.shape[2:]))
    spots = (smooth(liquid, size, size) > threshold).to(images.dtype)
    mud = smooth(spots, softness, softness)
    mud = torch.where(mud < 0.8, 0.0, mud)
    return images * (1 - mud) + mud * (63 / 255)
