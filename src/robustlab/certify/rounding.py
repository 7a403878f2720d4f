"""How far float32 arithmetic may differ from the real numbers, so that a proof holds for the network as run.

The bounds are computed in float64, but the network is evaluated in float32, and the proof has to cover that
evaluation. With the unit roundoff u = 2^-24, a sum of n products in any order obeys (Higham, Accuracy and
Stability of Numerical Algorithms, 2002, section 3.1)

    |computed - exact| <= g_n * sum |w_i| |x_i|,    g_n = n u / (1 - n u),

The exact layer could differ by as much if every input changed by g_n times its own size. So each rule widens
the interval it was given, or the one it returns, by such a term, and by induction every value that the
float32 network computes lies in its interval. Nothing is assumed about the order of the sums, nor about fused
multiplications, which only round less often. Every g_n includes two more roundings (6e-8 of the terms' size
each). They cover the float64 arithmetic of the bounds themselves (1e-16 for each of up to 10^8 terms). 2^-125
per term covers products too small for float32.

What is assumed: no TF32, no 16-bit types (`robustlab.core.isolation`; a network that asks for autocast is
refused), and convolutions that sum products. Winograd's algorithm, which some GPU libraries use for 3x3
filters, has another error term. It is of the order of 10 u times the size of the terms, so it is below g_n
for a fan-in of more than about ten. This is experience and not a theorem.
"""

import torch
from torch import Tensor

_UNIT = {torch.float64: 2.0**-24, torch.float32: 0.0}
"""float32 bounds are a quick look without any allowance; only float64 bounds prove anything."""

TINY = 2.0**-40
"""More than what a way back can lose to products below float64's normal range: fewer than 2^80 of them, each
less than 2^-1022 times a value of up to `LARGEST`."""

LARGEST = 2.0**100
"""Values beyond this are refused: float32 ends at 2^128, and a sum may end above its terms."""


def gamma(roundings: int, dtype: torch.dtype) -> float:
    """Return g_n for ``n`` roundings, with the two spare ones, when bounds are computed in ``dtype``."""
    share = (roundings + 2) * _UNIT[dtype]
    return share / (1 - share) if share < 0.5 else torch.inf


def slack(roundings: int, size: Tensor) -> Tensor:
    """Return what ``n`` roundings of parts of the given size add up to at most."""
    return gamma(roundings, size.dtype) * size + underflow(1, size.dtype)


def underflow(terms: int, dtype: torch.dtype) -> float:
    """Return what a sum of products may lose to numbers too small for float32, flushed to zero or not."""
    return terms * 2.0**-125 if dtype == torch.float64 else 0.0


def within_float32(lower: Tensor, upper: Tensor) -> bool:
    """Return whether float32 can't overflow; the quick test in float32 gives NaN by itself."""
    if lower.dtype != torch.float64 or not lower.numel():
        return True
    return bool(lower.min() > -LARGEST and upper.max() < LARGEST)


def own(size: Tensor, noise: Tensor | float) -> Tensor:
    """Return how far one step back in float64 may be off, per unit of a result's coefficient.

    Transposing a layer sums, for each argument, at most as many products as there are results (D), and the
    constants of a step are one more sum of D products. Both are off by at most g_n times the sum of the sizes
    of a result's terms, with n = 2 D + 8 and float64's unit roundoff. That sum is the result's size if the
    result is one of the arguments. Otherwise it is at most the noise over the two spare roundings.

    Args:
        size: (N, ...) the largest size of the results.
        noise: (N, ...) the allowance of their interval rule.
    """
    roundings = (2 * size[0].numel() + 8) * 2.0**-53
    return roundings / (1 - roundings) * (size + noise * 2.0**23)
