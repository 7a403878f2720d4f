"""Functions that increase with each argument: their bounds are their values at the arguments' bounds."""

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from robustlab.certify.interval import Interval, NoRuleError, depends
from robustlab.certify.rounding import slack
from robustlab.certify.rules.affine import transposed
from robustlab.certify.rules.base import at, register, size
from robustlab.certify.rules.lines import largest, leaky, rectifier, sigmoid, tanh


def _increasing(func: Any, args: Any, options: Any, noise: Callable[[Tensor], Any]) -> Interval:
    """Return the values at the bounds, widened by the noise of a result of that value."""
    lower, upper = at(func, args, options, lambda x: x.lower), at(func, args, options, lambda x: x.upper)
    below, above = noise(lower), noise(upper)
    widest = torch.maximum(below, above) if isinstance(below, Tensor) else below
    return Interval(lower - below, upper + above, noise=widest)


def _check_signs(func: Any, *values: Any) -> None:
    numbers = [value for value in values if isinstance(value, int | float)]
    if any(number < 0 for number in numbers):
        raise NoRuleError(f"{func.__name__} is not increasing with {min(numbers)}")


def _exact(func: Any, *args: Any, **options: Any) -> Interval:
    if "decimals" in options:
        raise NoRuleError(f"{func.__name__} has an interval rule only for whole numbers")
    return _increasing(func, args, options, lambda _: 0)


def _rounded(func: Any, *args: Any, **options: Any) -> Interval:
    """Functions that round their result, and their numbers, once each."""
    return _increasing(func, args, options, lambda result: slack(2, result.abs()))


def _leaky(func: Any, x: Any, slope: Any = 0.01, **options: Any) -> Interval:
    slope = options.pop("negative_slope", slope)
    if depends(slope) or not bool(torch.as_tensor(slope).min() >= 0):
        raise NoRuleError(f"{func.__name__} is not increasing with a negative slope")
    return _rounded(func, x, slope, **options)


def _curved(func: Any, *args: Any, **options: Any) -> Interval:
    """Functions made of exponentials: accurate to a few roundings of their parts, of which 1 is one."""
    values = (*args, *options.values())
    _check_signs(func, *values)
    parts = 1 + sum(float(value) for value in values if isinstance(value, int | float))
    return _increasing(func, args, options, lambda result: slack(16, result.abs() + parts))


def _softplus(func: Any, x: Any, beta: Any = 1.0, threshold: Any = 20.0) -> Interval:
    # Above the threshold torch returns the argument itself; this step down is smaller than the rounding only
    # there.
    if not threshold >= 20:
        raise NoRuleError(f"softplus is not increasing with a threshold of {threshold}")
    return _curved(func, x, beta, threshold)


def _summed(func: Any, x: Any, *args: Any, **options: Any) -> Interval:
    """Sums and means; the sum of the sizes bounds their rounding."""
    sizes = at(func, (x, *args), options, size)
    if func.__name__ in ("sum", "mean"):
        terms = x.lower.numel() // sizes.numel()
    else:
        _check_signs(func, *args, *options.values())
        terms = x.lower.shape[-int(func.__name__[-2]) :].numel()
    return _increasing(func, (x, *args), options, lambda _: slack(terms + 1, sizes))


register(_exact, "relu", lines=rectifier, no_larger=True)
register(_exact, "max_pool2d", lines=largest, no_larger=True)
register(_exact, "max_pool1d max_pool3d", no_larger=True)
register(_exact, "adaptive_max_pool1d adaptive_max_pool2d adaptive_max_pool3d", [F], no_larger=True)
register(_exact, "cat concat stack", (torch, Tensor), transpose=transposed)
register(_exact, "amax amin maximum minimum floor ceil round", (torch, Tensor))
register(_rounded, "clamp clamp_min clamp_max clip hardtanh relu6")
register(_rounded, "pad", transpose=transposed)
register(_leaky, "leaky_relu prelu", lines=leaky)
register(_curved, "sigmoid", lines=sigmoid)
register(_curved, "tanh", lines=tanh)
register(_curved, "elu celu selu softsign hardsigmoid logsigmoid")
register(_softplus, "softplus")
register(_summed, "mean sum", (torch, Tensor), transpose=transposed)
register(_summed, "avg_pool1d avg_pool2d avg_pool3d", transpose=transposed)
register(_summed, "adaptive_avg_pool1d adaptive_avg_pool2d adaptive_avg_pool3d", [F], transpose=transposed)
