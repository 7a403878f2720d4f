"""Turns arrays into PNG data URIs."""

import base64
import io

import numpy as np
from PIL import Image

from robustlab.report.arrays import Images, Pictures

RAISED, LOWERED = (0xE0, 0x70, 0x10), (0x1E, 0x78, 0xD2)
"""Orange and blue, which colour-blind readers can distinguish, on a light and on a dark page."""


def data_uri(picture: Pictures) -> str:
    """Return a (C, H, W) picture as a PNG data URI; without three channels it becomes grey."""
    if picture.shape[0] == 3:
        return _png(Image.fromarray(picture.transpose(1, 2, 0).copy()))
    return _png(Image.fromarray(picture.mean(axis=0).round().astype(picture.dtype)))


def perturbation_uri(change: Images, scale: float) -> str:
    """Return a signed (C, H, W) change as a PNG data URI; ``scale`` is the change in full colour.

    Three channels are drawn as colours around a grey that means no change. Other numbers are averaged and
    drawn in orange (raised) and blue (lowered), the more opaque the larger; no change is transparent.
    """
    share = np.clip(change / scale, -1.0, 1.0) if scale > 0 else np.zeros_like(change)
    if share.shape[0] == 3:
        return data_uri(np.round(127.5 + 127.5 * share).astype(np.uint8))
    mean = share.mean(axis=0)
    colour = np.where((mean >= 0)[..., None], RAISED, LOWERED).astype(np.uint8)
    opacity = np.round(255 * np.abs(mean)).astype(np.uint8)
    # Transparent pixels are black, so that the file is smaller.
    colour[opacity == 0] = 0
    return _png(Image.fromarray(np.dstack([colour, opacity])))


def as_pictures(images: Images) -> Pictures:
    """Return images on the pixel scale as uint8."""
    return np.round(255 * images).astype(np.uint8)


def _png(image: Image.Image) -> str:
    buffer = io.BytesIO()
    image.save(buffer, format="PNG", optimize=True)
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")
