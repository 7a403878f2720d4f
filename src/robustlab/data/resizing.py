"""Brings decoded pictures to the size and the channels of a dataset."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from robustlab.core.errors import DataError

if TYPE_CHECKING:
    from PIL.Image import Image

Pixels = Annotated[int, Field(ge=1, le=10_000)]
Resize = Pixels | tuple[Pixels, Pixels] | None
"""The new length of the shorter side, or (height, width)."""


@dataclass(frozen=True, kw_only=True)
class Resizing:
    """Resizes by bilinear interpolation, then cuts out the centre, as torchvision's transforms do.

    Attributes:
        resize: the new length of the shorter side, or (height, width); None: as it is.
        crop: the height and width of the centre that is cut out; None: all of it.
        channels: 3 for colours, 1 for grey.
    """

    resize: int | tuple[int, int] | None = None
    crop: int | None = None
    channels: int = 3

    @property
    def fixed(self) -> bool:
        """Whether all pictures get the same size, also if they have different ones."""
        return self.crop is not None or isinstance(self.resize, tuple)

    def size(self, width: int, height: int) -> tuple[int, int]:
        """Return the (height, width) that a picture gets.

        Raises:
            DataError: it is smaller than the part to cut out.
        """
        match self.resize:
            case None:
                size = height, width
            case (tall, wide):
                size = tall, wide
            case short if width <= height:
                size = int(short * height / width), short
            case short:
                size = short, int(short * width / height)
        if self.crop is None:
            return size
        if min(size) < self.crop:
            raise DataError(
                f"it has {width}x{height} pixels, too few for crop={self.crop}; resize={self.crop} or more "
                "makes it large enough"
            )
        return self.crop, self.crop

    def tensor(self, picture: "Image") -> Tensor:
        """Return a picture as uint8 (C, H, W); transparency is dropped.

        Raises:
            DataError: it has more than 8 bits per value, or is too small.
            OSError: it can't be decoded.
        """
        from torchvision.transforms import functional

        if picture.mode.startswith(("I", "F")):
            raise DataError(f"it has the mode {picture.mode}; expected a picture of 8 bits per value")
        size = self.size(*picture.size)
        if picture.mode == "P" and "transparency" in picture.info:
            picture = picture.convert("RGBA")
        picture = picture.convert("RGB" if self.channels == 3 else "L")
        if self.resize is not None:
            picture = functional.resize(
                picture, [self.resize] if isinstance(self.resize, int) else self.resize
            )
        if self.crop is not None:
            picture = functional.center_crop(picture, [*size])
        values = torch.from_numpy(np.array(picture))
        return values[None] if values.ndim == 2 else values.permute(2, 0, 1).contiguous()
