"""Figures of a detector's scores."""

import math

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata

from robustlab.evaluation.metrics import Z
from robustlab.runs.records import Figure


def auroc(positives: NDArray[np.float64], negatives: NDArray[np.float64]) -> Figure:
    """Return the area under the ROC curve with DeLong's interval (1988, doi:10.2307/2531595).

    Args:
        positives: (P,) scores of the images to detect; higher = more suspicious.
        negatives: (N,) scores of the other images.
    """
    p, n = len(positives), len(negatives)
    ranks = rankdata(np.concatenate([positives, negatives]))
    # The share of negatives below each positive, and of positives above each negative (ties count half).
    below = (ranks[:p] - rankdata(positives)) / n
    above = 1 - (ranks[p:] - rankdata(negatives)) / p
    area = float(below.mean())
    error = math.sqrt(below.var(ddof=1) / p + above.var(ddof=1) / n) if min(p, n) > 1 else 1.0
    return Figure(value=area, low=max(0.0, area - Z * error), high=min(1.0, area + Z * error), n=p + n)


def threshold_at(false_positive_rate: float, clean_scores: NDArray[np.float64]) -> float:
    """Return the smallest threshold with at most this share of the clean scores above it."""
    ordered = np.sort(clean_scores)[::-1]
    return float(ordered[math.floor(false_positive_rate * len(ordered))])
