"""Pairs of opposite points, to measure differences between them."""

from torch import Tensor


def ends(points: Tensor, delta: float) -> tuple[Tensor, Tensor]:
    """Return the points ``delta`` below and above, value by value, clipped to [0, 1]."""
    return (points - delta).clamp(min=0.0), (points + delta).clamp(max=1.0)


def spans(low: Tensor, high: Tensor) -> Tensor:
    """Return the distances between two points, value by value; clipping to [0, 1] makes them shorter."""
    return (high - low).clamp(min=1e-12)
