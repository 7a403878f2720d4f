"""Tolerance for float32 rounding."""

from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from torch import Tensor

_TOLERANCE = 1e-6

Length = TypeVar("Length", float, "Tensor")


def with_tolerance(eps: Length) -> Length:
    """Return the largest accepted distance: eps plus a tolerance for float32 rounding in a projection."""
    return eps * (1 + _TOLERANCE) + _TOLERANCE
