"""Shares with their 95 % intervals."""

import math

from robustlab.runs.records import Figure

Z = 1.959963984540054
"""The 97.5 % quantile of the normal distribution, computed with scipy; importing scipy takes a second."""


def percent(value: float) -> str:
    """Return a share as text."""
    return f"{value:.1%}".replace("%", " %")


def proportion(successes: int, n: int) -> Figure:
    """Return a share with its Wilson score interval (Wilson 1927, doi:10.1080/01621459.1927.10502953).

    Raises:
        ValueError: ``n`` is 0, or ``successes`` is not in 0..n.
    """
    if not 0 <= successes <= n or n == 0:
        raise ValueError(f"successes must lie in 0..n with n > 0, found {successes} of {n}")
    share, z2 = successes / n, Z**2
    centre = (share + z2 / (2 * n)) / (1 + z2 / n)
    half = Z / (1 + z2 / n) * math.sqrt(share * (1 - share) / n + z2 / (4 * n * n))
    # At 0 and n the interval ends exactly at 0 and 1; rounding must not move its end beyond the share.
    return Figure(
        value=share, low=min(max(0.0, centre - half), share), high=max(min(1.0, centre + half), share), n=n
    )
