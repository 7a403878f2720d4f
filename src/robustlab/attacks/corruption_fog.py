"""Fog of MNIST-C (Mu & Gilmer 2019, arXiv:1906.02337): a cloud by the diamond-square algorithm on a torus."""

import math

from torch import Tensor

from robustlab.attacks.corruption_pixels import Draws

_LEAST_SIDE = 256
"""The smallest side of the torus, in pixels; the image's cloud is cut out of the torus."""


def fog(images: Tensor, draws: Draws, density: float, decay: float) -> Tensor:
    """Add a random cloud of at most ``density``, then rescale to the brightest pixel of the image."""
    brightest = images.amax(dim=(1, 2, 3), keepdim=True)
    return (images + density * _cloud(images, draws, decay)) * brightest / (brightest + density)


def _cloud(images: Tensor, draws: Draws, decay: float) -> Tensor:
    """Return clouds (N, 1, H, W) whose lowest and highest values on the torus are 0 and 1.

    MNIST-C makes the whole torus and keeps a corner. Here the last two levels, the faintest, are computed
    only for the corner. The lowest and highest values are those of the earlier levels.
    """
    height, width = images.shape[2:]
    levels = math.ceil(math.log2(max(height, width, _LEAST_SIDE)))
    cloud, roughness = images.new_zeros(len(images), 1, 1), 100.0
    for level in range(levels):
        if level == levels - 2:
            low, high = cloud.amin(dim=(1, 2), keepdim=True), cloud.amax(dim=(1, 2), keepdim=True)
            # Two more cells around the corner, since the next levels are wrong at the edge of a cut.
            cloud = cloud.roll((2, 2), dims=(1, 2))[:, : -(-height // 4) + 5, : -(-width // 4) + 5]
        cloud = _refined(cloud, roughness**2, draws, level)
        roughness /= decay
    corner = cloud[:, 8 : 8 + height, 8 : 8 + width]
    return ((corner - low) / (high - low)).clamp(0.0, 1.0)[:, None]


def _refined(cloud: Tensor, amount: float, draws: Draws, level: int) -> Tensor:
    """Double the sides: middles of squares, then of edges, each the mean of four neighbours plus noise."""
    count, rows, columns = cloud.shape
    noise = amount * (2 * draws.uniform("fog", level, shape=(3, rows, columns)) - 1)
    pairs = cloud + cloud.roll(-1, dims=1)
    middles = (pairs + pairs.roll(-1, dims=2)) / 4 + noise[:, 0]
    finer = cloud.new_empty(count, 2 * rows, 2 * columns)
    finer[:, ::2, ::2], finer[:, 1::2, 1::2] = cloud, middles
    for axis, place in ((1, finer[:, ::2, 1::2]), (2, finer[:, 1::2, ::2])):
        neighbours = middles + middles.roll(1, dims=axis) + cloud + cloud.roll(-1, dims=3 - axis)
        place.copy_(neighbours / 4 + noise[:, axis])
    return finer
