"""How rows of features or signals become images."""

from dataclasses import dataclass

import torch
from torch import Tensor

from robustlab.core.errors import DataError

_ROUNDING = 1e-6
"""The share of its range by which a value may lie outside it because of rounding; it is clamped."""


@dataclass(frozen=True, kw_only=True, eq=False)
class FeatureRanges:
    """How rows of features or signals become images: each value as its place in its range.

    Attributes:
        shape: of a row: (F,), or (C, L) of a signal with C channels.
        low: the lowest possible values, of that shape, float64.
        high: the highest possible ones.
        names: of the features; empty if they have none.
    """

    shape: tuple[int, ...]
    low: Tensor
    high: Tensor
    names: tuple[str, ...] = ()

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """(C, 1, L) of the image; a row of F features is a signal with one channel."""
        channels, length = self.shape if len(self.shape) == 2 else (1, *self.shape)
        return channels, 1, length

    def images(self, rows: Tensor) -> Tensor:
        """Return rows (N, *shape) as images (N, C, 1, L) float32 in [0, 1].

        Raises:
            DataError: a value is NaN or lies outside its range.
        """
        rows = rows.to(torch.float64)
        width = self.high - self.low
        shares = (rows - self.low) / torch.where(width > 0, width, 1.0)
        outside = ~((shares >= -_ROUNDING) & (shares <= torch.where(width > 0, 1 + _ROUNDING, _ROUNDING)))
        if outside.any():
            row, *place = outside.nonzero()[0].tolist()
            at = tuple(place)
            raise DataError(
                f"row {row}: {self.name_of(at)} is {rows[(row, *at)]:g}, outside its range, "
                f"{self.low[at]:g} to {self.high[at]:g}"
            )
        return shares.clamp(0.0, 1.0).to(torch.float32).view(-1, *self.image_shape)

    def rows(self, images: Tensor) -> Tensor:
        """Return images (N, C, 1, L) as rows (N, *shape) in their own units; differentiable."""
        low, width = (ends.to(images) for ends in (self.low, self.high - self.low))
        return low + width * images.reshape(-1, *self.shape)

    def name_of(self, place: tuple[int, ...]) -> str:
        """Return the name of a feature, or its place, for messages."""
        if self.names:
            return self.names[place[0]]
        return f"feature {place[0]}" if len(place) == 1 else f"channel {place[0]}, value {place[1]}"
