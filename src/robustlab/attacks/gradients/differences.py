"""Pairs of opposite points, between which values are compared."""

from torch import Tensor


def ends(points: Tensor, delta: float) -> tuple[Tensor, Tensor]:
    """Return the points a step below and above, value by value, within [0, 1]."""
    return (points - delta).clamp(min=0.0), (points + delta).clamp(max=1.0)


def spans(low: Tensor, high: Tensor) -> Tensor:
    """Return how far apart they are: less at the limits of [0, 1]."""
    return (high - low).clamp(min=1e-12)
