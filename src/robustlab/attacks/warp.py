"""Affine transforms of images, a different one for each image."""

import torch
import torch.nn.functional as F
from torch import Tensor


def warp(images: Tensor, matrix: Tensor, shift: Tensor) -> Tensor:
    """Apply an affine transform to each image: bilinear, zeros from outside the image.

    Args:
        images: (N, C, H, W).
        matrix: (N, 2, 2), in pixels, (x, y) from the image's centre: place p of the result is place ``matrix
            @ p + shift`` of the image.
        shift: (N, 2) in pixels.
    """
    height, width = images.shape[2:]
    half = images.new_tensor([width / 2, height / 2])
    # affine_grid counts from -1 to 1 along each side of any length.
    theta = torch.cat([matrix * half / half[:, None], (shift / half)[:, :, None]], dim=2)
    grid = F.affine_grid(theta, list(images.shape), align_corners=False)
    return F.grid_sample(images, grid, mode="bilinear", padding_mode="zeros", align_corners=False)


def rotations(angles: Tensor) -> Tensor:
    """Return the matrices (N, 2, 2) that `warp` needs to turn images by angles (N,), in radians."""
    sine, cosine = angles.sin(), angles.cos()
    return torch.stack([torch.stack([cosine, -sine], dim=1), torch.stack([sine, cosine], dim=1)], dim=1)
