"""Functions that are affine in each argument: their extremes lie at the corners of the arguments' box."""

import itertools
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from robustlab.certify.interval import Ball, Interval, NoRuleError, depends, intervals
from robustlab.certify.rounding import slack
from robustlab.certify.rules.affine import entrywise, scaling
from robustlab.certify.rules.base import at, register, size


def _corners(
    func: Any, args: tuple[Any, ...], options: dict[str, Any], noise: Callable[[Tensor], Tensor]
) -> Interval:
    """Return the bounds over the corners, widened by the noise of results up to a given size."""
    count = len(list(intervals(args)))
    values = [at(func, args, options, _chooser(corner)) for corner in itertools.product((0, 1), repeat=count)]
    lower, upper = values[0], values[0]
    for value in values[1:]:
        lower, upper = torch.minimum(lower, value), torch.maximum(upper, value)
    off = noise(torch.maximum(-lower, upper))
    lower, upper = lower - off, upper + off
    ball = next(intervals(args)).ball if count == 1 else None
    if ball is None or ball.centre.shape != lower.shape:
        return Interval(lower, upper, noise=off)
    ball = _mapped(ball, lambda part: at(func, args, options, lambda _: part), off)
    return Interval(lower, upper, noise=off, ball=ball)


def _chooser(corner: tuple[int, ...]) -> Callable[[Interval], Tensor]:
    """Return a function that picks, for each interval in turn, the end given by the corner."""
    ends = iter(corner)
    return lambda x: x.upper if next(ends) else x.lower


def _mapped(ball: Ball, function: Callable[[Tensor], Tensor], noise: Tensor) -> Ball:
    centre, edge = function(ball.centre), function(ball.edge)
    error = (function(ball.centre + ball.error) - centre).abs() + noise
    return ball._replace(centre=centre, edge=edge, error=error)


def _scaled(func: Any, *args: Any) -> Interval:
    if func in _QUOTIENTS and depends(args[1:]):
        raise NoRuleError(f"{func.__name__} has no interval rule for a divisor that depends on the image")
    return _corners(func, args, {}, lambda result: slack(2, result))


def _shifted(func: Any, x: Any, y: Any, alpha: Any = 1) -> Interval:
    if depends(alpha):
        raise NoRuleError(f"{func.__name__} has an interval rule only for a fixed alpha")
    roundings = 2 if alpha == 1 else 3

    def noise(result: Tensor) -> Tensor:
        first, second = (size(v) if isinstance(v, Interval) else torch.as_tensor(v).abs() for v in (x, y))
        return slack(roundings, (first + second).to(result.dtype) * max(1.0, abs(float(alpha))))

    return _corners(func, (x, y), {} if alpha == 1 else {"alpha": alpha}, noise)


def _batch_norm(
    func: Any, x: Any, mean: Any, var: Any, weight: Any = None, bias: Any = None, **options: Any
) -> Interval:
    if options.get("training") or mean is None or depends(mean, var, weight, bias):
        raise NoRuleError("batch_norm mixes the images of a batch")
    # With every sign turned to plus, the same formula is the sum of the sizes of its terms.
    weights = tuple(None if value is None else value.abs() for value in (weight, bias))
    sizes = at(func, (x, -mean.abs(), var, *weights), options, size)
    return _corners(func, (x, mean, var, weight, bias), options, lambda _: slack(8, sizes))


_QUOTIENTS = register(_scaled, "div divide true_divide", (torch, Tensor), transpose=scaling)
register(_scaled, "mul multiply neg negative", (torch, Tensor), transpose=scaling)
register(_shifted, "add sub subtract rsub __rsub__", (torch, Tensor), transpose=entrywise)
register(_batch_norm, "batch_norm", [F], transpose=entrywise)
