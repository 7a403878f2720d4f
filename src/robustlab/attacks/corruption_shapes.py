"""Affine maps, strokes and edges of MNIST-C (Mu & Gilmer 2019, arXiv:1906.02337), on batches of any size.

`corruption_pixels` describes the arguments of all functions. Lengths that MNIST-C states for 28 x 28 pixels
are fractions of the image's sides here.
"""

import itertools
import math

import torch
import torch.nn.functional as F
from torch import Tensor

from robustlab.attacks.corruption_pixels import Draws, smooth
from robustlab.attacks.warp import rotations, warp

_STROKE = 2.3
"""Pixels from the middle of a stroke to where its logarithmic profile ends."""
_TOOTH = 2.0
"""Half the width of a zigzag's tooth, and its height."""


def shear(images: Tensor, draws: Draws, angle: float) -> Tensor:
    """Shear along the rows by an angle in radians, in a random direction."""
    turn = angle * _signs(draws, 1).squeeze(1)
    one, zero = torch.ones_like(turn), torch.zeros_like(turn)
    rows = torch.stack([one, -turn.sin()], dim=1), torch.stack([zero, turn.cos()], dim=1)
    return _about_centre(images, torch.stack(rows, dim=1))


def scale(images: Tensor, draws: Draws, share: float) -> Tensor:
    """Shrink to a share of each side."""
    del draws
    return _about_centre(images, torch.eye(2, device=images.device).expand(len(images), 2, 2) / share)


def rotate(images: Tensor, draws: Draws, angle: float) -> Tensor:
    """Rotate by an angle in radians, in a random direction."""
    return _about_centre(images, rotations(angle * _signs(draws, 1).squeeze(1)))


def translate(images: Tensor, draws: Draws, pixels: float) -> Tensor:
    """Move along both sides by a number of pixels, each in a random direction."""
    same = torch.eye(2, device=images.device).expand(len(images), 2, 2)
    return warp(images, same, pixels * _signs(draws, 2))


def _signs(draws: Draws, count: int) -> Tensor:
    return 2.0 * (draws.uniform("side", shape=(count,)) < 0.5) - 1


def _about_centre(images: Tensor, matrix: Tensor) -> Tensor:
    return warp(images, matrix, images.new_zeros(len(images), 2))


def stripe(images: Tensor, draws: Draws) -> Tensor:
    """Invert the leftmost and the rightmost quarter."""
    del draws
    width = images.shape[3]
    column = torch.arange(width, device=images.device)
    return torch.where((column < width // 4) | (column >= width - width // 4), 1 - images, images)


def dotted_line(images: Tensor, draws: Draws) -> Tensor:
    """Draw a line of dots, two pixels long, from side to side."""
    height, width = images.shape[2:]
    first, last = (draws.uniform("rows", shape=(2,)) * (height - 1)).floor().unbind(dim=1)
    ends = (
        torch.stack([torch.zeros_like(first), first], dim=1),
        torch.stack([torch.full_like(last, width - 1), last], dim=1),
    )
    dots = torch.arange(width, device=images.device) // 2 % 2
    return images + dots * _line(images, *ends)


def zigzag(images: Tensor, draws: Draws) -> Tensor:
    """Draw a zigzag from side to side that ends on its axis; MNIST-C's ends a third of a pixel beside it."""
    height, width = images.shape[2:]
    begin, length = 2.0, max(width - 5.0, 1.0)
    start, rise = draws.uniform("rows", shape=(2,)).unbind(dim=1)
    row, rise = (start * (height - 1)).floor(), (rise * 10).floor() - 5
    angle = (rise / length).atan()
    teeth = range(max(0, math.floor((length - _TOOTH) / (2 * _TOOTH)) + 1))
    tips = [((2 * tooth + 1) * _TOOTH * torch.ones_like(row), (-1) ** tooth * _TOOTH) for tooth in teeth]
    corners = [(torch.zeros_like(row), 0.0), *tips, (length / angle.cos(), 0.0)]
    points = [
        torch.stack(
            [begin + angle.cos() * x - angle.sin() * y, row + angle.sin() * x + angle.cos() * y], dim=1
        )
        for x, y in corners
    ]
    for one, other in itertools.pairwise(points):
        images = images + _line(images, one, other)
    return images


def _line(images: Tensor, begin: Tensor, end: Tensor) -> Tensor:
    """Return the intensity (N, 1, H, W) of a stroke between points (N, 2), (x, y), the first further left."""
    columns = torch.arange(images.shape[3], device=images.device)
    rows = torch.arange(images.shape[2], device=images.device)
    run, rise = torch.split(end - begin, 1, dim=1)
    height = rise / run.clamp(min=1e-3) * (columns - begin[:, :1]) + begin[:, 1:]
    distance = (rows[:, None] - height[:, None, :]).abs().clamp(max=_STROKE)
    ink = ((1 - distance / _STROKE).log() + 1).clamp(0.0, 1.0)
    inside = (columns >= begin[:, :1].floor()) & (columns < end[:, :1].ceil())
    return (ink * inside[:, None, :])[:, None]


def canny_edges(images: Tensor, draws: Draws) -> Tensor:
    """Return the edges of each channel (Canny 1986) with a std of one pixel and thresholds 0.1 and 0.2."""
    del draws
    smoothed = smooth(images, 1, 1, "constant") / smooth(torch.ones_like(images), 1, 1, "constant")
    strip = torch.tensor([1.0, 2.0, 1.0], device=images.device)
    slope = torch.tensor([-1.0, 0.0, 1.0], device=images.device)
    sobel = torch.stack([slope[:, None] * strip, strip[:, None] * slope])[:, None]
    padded = F.pad(smoothed.flatten(0, 1)[:, None], (1, 1, 1, 1), mode="replicate")
    down, across = F.conv2d(padded, sobel).unbind(dim=1)
    size = (down**2 + across**2).sqrt()
    peak = _is_ridge(size, down, across)
    weak, strong = peak & (size >= 0.1), peak & (size >= 0.2)
    while True:
        grown = weak & F.max_pool2d(strong.to(images.dtype), 3, stride=1, padding=1).bool()
        if torch.equal(grown, strong):
            return strong.to(images.dtype).view_as(images)
        strong = grown


def _is_ridge(size: Tensor, down: Tensor, across: Tensor) -> Tensor:
    """Return where a gradient (N, H, W) is at least as long as its two neighbours along its direction."""
    height, width = size.shape[1:]
    padded = F.pad(size, (1, 1, 1, 1))

    def at(row: int, column: int) -> Tensor:
        return padded[:, 1 + row : 1 + row + height, 1 + column : 1 + column + width]

    same = down * across >= 0
    steep = down.abs() >= across.abs()
    share = torch.where(steep, across / down, down / across).abs().nan_to_num(0.0)
    ridge = torch.ones_like(steep)
    for side in (1, -1):
        straight = torch.where(steep, at(side, 0), at(0, side))
        other = torch.where(steep, at(side, -side), at(-side, side))
        slanted = torch.where(same, at(side, side), other)
        ridge &= torch.lerp(straight, slanted, share) <= size
    ridge[:, [0, -1]] = False
    ridge[:, :, [0, -1]] = False
    return ridge
