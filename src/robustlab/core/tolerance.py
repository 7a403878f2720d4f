"""What float32 rounds off."""

from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from torch import Tensor

_TOLERANCE = 1e-6

Length = TypeVar("Length", float, "Tensor")


def with_tolerance(eps: Length) -> Length:
    """Return how far images may be within eps: a little more, for what float32 rounds off in a projection."""
    return eps * (1 + _TOLERANCE) + _TOLERANCE
