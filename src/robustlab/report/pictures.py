"""Turns arrays into data URIs: PNG, and JPEG for large images."""

import base64
import io

import numpy as np
from PIL import Image

from robustlab.report.arrays import Images, Pictures

RAISED, LOWERED = (0xE0, 0x70, 0x10), (0x1E, 0x78, 0xD2)
"""Orange and blue, which colour-blind readers can distinguish, on a light and on a dark page."""

_QUALITY = 80
"""Of JPEG; with full resolution of the colours, so that a change keeps its colour."""


def data_uri(picture: Pictures, *, photo: bool = False) -> str:
    """Return a (C, H, W) picture as a data URI; without three channels it becomes grey.

    A ``photo`` is a JPEG, which is much smaller than a PNG and looks the same.
    """
    if picture.shape[0] == 3:
        return _encoded(Image.fromarray(picture.transpose(1, 2, 0).copy()), photo)
    return _encoded(Image.fromarray(picture.mean(axis=0).round().astype(picture.dtype)), photo)


def smaller(image: Images, step: int) -> Images:
    """Return a (C, H, W) image with the mean of each block of ``step`` x ``step`` pixels."""
    mean: Images = _blocks(image, step).mean(axis=-1, dtype=np.float32)
    return mean


def smaller_change(change: Images, step: int) -> Images:
    """Return a (C, H, W) change with the largest change of each block: the mean of noise is nearly 0."""
    blocks = _blocks(change, step)
    largest: Images = np.take_along_axis(blocks, np.abs(blocks).argmax(axis=-1)[..., None], axis=-1)[..., 0]
    return largest


def _blocks(image: Images, step: int) -> Images:
    """Return the blocks (C, H / step, W / step, step * step); the last pixels are repeated to fill them."""
    channels, height, width = image.shape
    whole = np.pad(image, ((0, 0), (0, -height % step), (0, -width % step)), mode="edge")
    rows, columns = whole.shape[1] // step, whole.shape[2] // step
    parts = whole.reshape(channels, rows, step, columns, step).transpose(0, 1, 3, 2, 4)
    return parts.reshape(channels, rows, columns, step * step)


def perturbation_uri(change: Images, scale: float, *, photo: bool = False) -> str:
    """Return a signed (C, H, W) change as a data URI; ``scale`` is the change in full colour.

    Three channels are drawn as colours around a grey that means no change. Other numbers are averaged and
    drawn in orange (raised) and blue (lowered), the more opaque the larger; no change is transparent.
    """
    share = np.clip(change / scale, -1.0, 1.0) if scale > 0 else np.zeros_like(change)
    if share.shape[0] == 3:
        return data_uri(np.round(127.5 + 127.5 * share).astype(np.uint8), photo=photo)
    mean = share.mean(axis=0)
    colour = np.where((mean >= 0)[..., None], RAISED, LOWERED).astype(np.uint8)
    opacity = np.round(255 * np.abs(mean)).astype(np.uint8)
    # Transparent pixels are black, so that the file is smaller.
    colour[opacity == 0] = 0
    return _encoded(Image.fromarray(np.dstack([colour, opacity])), photo=False)


def as_pictures(images: Images) -> Pictures:
    """Return images on the pixel scale as uint8."""
    return np.round(255 * images).astype(np.uint8)


def _encoded(image: Image.Image, photo: bool) -> str:
    buffer = io.BytesIO()
    if photo:
        image.save(buffer, format="JPEG", quality=_QUALITY, subsampling=0)
    else:
        image.save(buffer, format="PNG", optimize=True)
    content = base64.b64encode(buffer.getvalue()).decode("ascii")
    return f"data:image/{'jpeg' if photo else 'png'};base64,{content}"
