"""Images with 8 bits per value, as image files store them.

Attacks then include the rounding: the classifier gets the nearest 8-bit image, and the gradient ignores the
rounding.
"""

import io
import math
from dataclasses import replace

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from robustlab.attacks import BPDA, Quantize
from robustlab.core.errors import DataError
from robustlab.core.inputs import to_eval_mode
from robustlab.core.tolerance import with_tolerance
from robustlab.data.source import LazyImages
from robustlab.threats import ThreatModel, per_image

_LEVELS = 255
_CHANNELS = (1, 2, 3, 4)
_ROUND_UP_FROM = (0.5, 0.6, 0.7, 0.8, 0.9, 1.0)
_TOLERANCE = 1e-6
"""Tolerance of values, which floats store rounded."""


class _Rounding(nn.Module):
    def forward(self, images: Tensor) -> Tensor:
        return _grid(images)


def rounded(model: nn.Module) -> nn.Module:
    """Return a classifier with a rounding to 8 bits in front, for attacks."""
    network = nn.Sequential(BPDA(_Rounding()), model)
    to_eval_mode(network)
    return network


def _grid(images: Tensor) -> Tensor:
    return images.mul(_LEVELS).round().div(_LEVELS)


def levels(images: Tensor | LazyImages) -> Tensor | LazyImages:
    """Return clean images (N, C, H, W) as a PNG file stores them: uint8 in 0..255.

    A value with a rounding error would count as changed in every 8-bit image. Images that are not in memory
    are checked when they are read.

    Raises:
        DataError: they are not 8-bit images.
    """
    if images.shape[1] not in _CHANNELS:
        raise DataError(f"8-bit images need 1 to 4 channels, found {images.shape[1]}")
    if images.dtype == torch.uint8:
        return images
    return replace(images, turn=_levels) if isinstance(images, LazyImages) else _levels(images)


def _levels(images: Tensor) -> Tensor:
    if (images - _grid(images)).abs().max() > _TOLERANCE:
        raise DataError("the clean images are not 8-bit images: their values are not all multiples of 1/255")
    return images.mul(_LEVELS).round().to(torch.uint8)


def searched(threat: ThreatModel) -> ThreatModel:
    """Return the threat model for the search: for separable ones eps is a whole number of levels."""
    if not (threat.separable and threat.bounded):
        return threat
    levels = math.floor(threat.eps * _LEVELS * (1 + _TOLERANCE))
    return threat.at(levels / _LEVELS)


def quantize(threat: ThreatModel) -> Quantize:
    """Return the function that turns points of an attack, without fixed values, into 8-bit images."""
    return lambda points, clean, eps: to_8_bit(points, clean, threat.inner, eps)


def to_8_bit(images: Tensor, clean: Tensor, threat: ThreatModel, eps: Tensor | None = None) -> Tensor:
    """Return 8-bit images near the given ones, inside the threat model, or within each image's own eps (N,).

    Each change is rounded to the nearest level; if the result lies outside the ball, more and more of the
    image's changes are rounded towards the clean image, finally all of them.
    """
    moved = (images - clean).mul(_LEVELS)
    radius = torch.full_like(moved[:, 0, 0, 0], threat.eps) if eps is None else eps
    result, settled = clean, torch.zeros(len(images), dtype=torch.bool, device=images.device)
    for start in _ROUND_UP_FROM:
        steps = moved.sign() * (moved.abs() + (1 - start)).floor()
        rounded = (_grid(clean) * _LEVELS + steps).round().clamp(0, _LEVELS).div(_LEVELS)
        inside = threat.distance(rounded, clean) <= with_tolerance(radius)
        result = torch.where(per_image(inside & ~settled, clean), rounded, result)
        settled |= inside
    return result


def to_png(image: Tensor) -> bytes:
    """Return an 8-bit image (C, H, W) as a PNG file."""
    levels = image.mul(_LEVELS).round().to(torch.uint8).cpu().numpy()
    picture = levels[0] if len(levels) == 1 else np.ascontiguousarray(levels.transpose(1, 2, 0))
    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, format="PNG")
    return buffer.getvalue()


def from_png(content: bytes) -> Tensor:
    """Return the image (C, H, W) float32 in [0, 1] of a PNG file."""
    levels = np.array(Image.open(io.BytesIO(content)))
    levels = levels[None] if levels.ndim == 2 else levels.transpose(2, 0, 1)
    return torch.from_numpy(np.ascontiguousarray(levels)).to(torch.float32).div_(_LEVELS)
