"""Figures with their 95 % intervals."""

import math

import numpy as np
from numpy.typing import NDArray
from scipy.stats import norm, rankdata

from robustlab.runs.records import Figure

_Z = float(norm.ppf(0.975))


def percent(value: float) -> str:
    """Return a share for people."""
    return f"{value:.1%}".replace("%", " %")


def proportion(successes: int, n: int) -> Figure:
    """Return a share with its Wilson score interval (Wilson 1927, doi:10.1080/01621459.1927.10502953).

    Raises:
        ValueError: ``n`` is 0, or ``successes`` is not in 0..n.
    """
    if not 0 <= successes <= n or n == 0:
        raise ValueError(f"successes must lie in 0..n with n > 0, found {successes} of {n}")
    share, z2 = successes / n, _Z**2
    centre = (share + z2 / (2 * n)) / (1 + z2 / n)
    half = _Z / (1 + z2 / n) * math.sqrt(share * (1 - share) / n + z2 / (4 * n * n))
    # At 0 and n the interval ends at 0 and 1 exactly; rounding must not push it past the share.
    return Figure(
        value=share, low=min(max(0.0, centre - half), share), high=max(min(1.0, centre + half), share), n=n
    )


def auroc(positives: NDArray[np.float64], negatives: NDArray[np.float64]) -> Figure:
    """Return the area under the ROC curve with DeLong's interval (1988, doi:10.2307/2531595).

    Args:
        positives: (P,) scores of what should be found; higher = more suspicious.
        negatives: (N,) scores of the rest.
    """
    p, n = len(positives), len(negatives)
    ranks = rankdata(np.concatenate([positives, negatives]))
    # The share of negatives below each positive, and of positives above each negative (ties count half).
    below = (ranks[:p] - rankdata(positives)) / n
    above = 1 - (ranks[p:] - rankdata(negatives)) / p
    area = float(below.mean())
    error = math.sqrt(below.var(ddof=1) / p + above.var(ddof=1) / n) if min(p, n) > 1 else 1.0
    return Figure(value=area, low=max(0.0, area - _Z * error), high=min(1.0, area + _Z * error), n=p + n)


def threshold_at(false_positive_rate: float, clean_scores: NDArray[np.float64]) -> float:
    """Return the least threshold above which at most that share of the clean scores lies."""
    ordered = np.sort(clean_scores)[::-1]
    return float(ordered[math.floor(false_positive_rate * len(ordered))])
