"""Lines below and above functions that are not affine (`backward`), from the bounds of their arguments.

Rectifiers and S-shaped functions as in Zhang et al. 2018 (arXiv:1811.00866); a rectifier's lower line leaves
the smaller area. The largest of several is bounded by lines of the entry with the largest lower bound.
"""

import math
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from robustlab.certify.backward import Lines, Node
from robustlab.certify.interval import Interval
from robustlab.certify.rounding import own
from robustlab.certify.rules.base import number, size

_BISECTIONS = 40

Function = Callable[[Tensor], Tensor]


def rectifier(func: Any, args: Any, options: Any, result: Interval) -> Node:
    """Return the node of ``max(x, 0)``."""
    del func, options
    return _bent(args[0], torch.zeros_like(args[0].lower), result)


def leaky(func: Any, args: Any, options: Any, result: Interval) -> Node:
    """Return the node of ``x`` above 0 and ``slope * x`` below."""
    x, *rest = args
    given = rest[0] if rest else options.get("negative_slope", options.get("weight", 0.01))
    slope = torch.as_tensor(number(given, size, x.lower.dtype), dtype=x.lower.dtype, device=x.lower.device)
    if func.__name__ == "prelu" and slope.numel() > 1:
        slope = slope.view(-1, *[1] * (x.lower.ndim - 2))
    return _bent(x, slope.expand_as(x.lower), result)


def _bent(x: Interval, slope: Tensor, result: Interval) -> Node:
    """Return the node of a function with ``slope`` below 0, and slope 1 above."""
    lower, upper, zero = x.lower, x.upper, torch.zeros_like(x.lower)
    bent, convex = (lower < 0) & (upper > 0), slope <= 1
    sole = torch.where(lower >= 0, 1.0, slope)
    chord = ((upper - slope * lower) / (upper - lower).where(bent, 1.0)).where(bent, sole)
    # The chord at 0 by either end, which differ by rounding.
    heights = torch.stack([upper - chord * upper, slope * lower - chord * lower]).where(bent, zero)
    through_zero = torch.where(upper > -lower, 1.0, slope).where(bent, sole)
    turns = bent & convex
    return _node(
        x,
        result,
        floor=zero.where(convex, heights.amin(dim=0)),
        ceiling=heights.amax(dim=0).where(convex, zero),
        low=through_zero.where(convex, chord),
        high=chord.where(convex, through_zero),
        # Of a concave function the lower line is the chord, which can't turn.
        free=(slope.where(turns, chord), torch.where(turns, 1.0, chord)),
    )


def sigmoid(func: Any, args: Any, options: Any, result: Interval) -> Node:
    """Return the node of the logistic function."""
    del func, options

    def critical(slope: Tensor) -> Tensor:
        return torch.logit((1 + (1 - 4 * slope).clamp(min=0).sqrt()) / 2)

    return _s_shaped(args[0], result, torch.sigmoid, lambda x: torch.sigmoid(x) * torch.sigmoid(-x), critical)


def tanh(func: Any, args: Any, options: Any, result: Interval) -> Node:
    """Return the node of the hyperbolic tangent."""
    del func, options

    def critical(slope: Tensor) -> Tensor:
        return torch.atanh((1 - slope).clamp(min=0).sqrt())

    return _s_shaped(args[0], result, torch.tanh, lambda x: 1 - torch.tanh(x).square(), critical)


def _s_shaped(
    x: Interval, result: Interval, function: Function, derivative: Function, critical: Function
) -> Node:
    """Return the node of a function that is convex below 0, concave above, and symmetric.

    A line of any slope will do: its value at 0 is the least of ``function(x) - slope * x``. That lies at an
    end, or where the function has this slope, at ``critical(slope)`` and its negative.
    """
    lower, upper = x.lower, x.upper
    with torch.no_grad():  # any slopes will do, so they may be constants
        low = _tangent(lower, upper, function, derivative)
        high = _tangent(-upper, -lower, function, derivative)

    def heights(slope: Tensor) -> Tensor:
        there = critical(slope).nan_to_num(0.0)
        places = (lower, upper, there.clamp(lower, upper), (-there).clamp(lower, upper))
        return torch.stack([function(place) - slope * place for place in places])

    return _node(
        x, result, floor=heights(low).amin(dim=0), ceiling=heights(high).amax(dim=0), low=low, high=high
    )


def _tangent(lower: Tensor, upper: Tensor, function: Function, derivative: Function) -> Tensor:
    """Return the slope of a good line below the function."""
    middle, gap = (upper + lower) / 2, upper - lower
    wide = gap > 1e-6
    chord = ((function(upper) - function(lower)) / gap.where(wide, 1.0)).where(wide, derivative(middle))
    # The line through the upper end that touches the convex part, if it does so within the bounds.
    left, right = lower, torch.zeros_like(lower)
    for _ in range(_BISECTIONS):
        place = (left + right) / 2
        below = function(place) + derivative(place) * (upper - place) < function(upper)
        left, right = place.where(below, left), right.where(below, place)
    touching = derivative(left).where(left > lower, chord)
    concave_or_both = chord.where(lower >= 0, touching)
    return derivative(middle).where(upper <= 0, concave_or_both)


def largest(func: Any, args: Any, options: Any, result: Interval) -> Node | None:
    """Return the node of two-dimensional max pooling; None with options that it does not follow."""
    del func
    x, out = args[0], result.lower.shape
    windows = _windows(*args, **options)
    if windows is None or x.node is None or windows.shape[:2] != out[2:]:
        return None
    outside = torch.full_like(x.lower.flatten(2)[..., :1], -math.inf)
    # (N, C, H', W', entries) of each window.
    lows, highs = (torch.cat([ends.flatten(2), outside], dim=2)[..., windows] for ends in (x.lower, x.upper))
    chosen = lows.argmax(dim=-1, keepdim=True)
    rival = highs.scatter(-1, chosen, -math.inf).amax(dim=-1)
    lower, upper = lows.gather(-1, chosen)[..., 0], highs.gather(-1, chosen)[..., 0]
    places = windows.expand_as(lows).gather(-1, chosen).flatten(2)

    def back(rows: Tensor) -> tuple[Tensor, ...]:
        sums = rows.new_zeros((*rows.shape[:2], *x.lower.flatten(2).shape[1:]))
        sums = sums.scatter_add(-1, places.expand(len(rows), *places.shape), rows.flatten(3))
        return (sums.view(*rows.shape[:2], *x.lower.shape[1:]),)

    entry = Interval(lower, upper)
    error = own(size(entry), 0.0)
    entry.node = Node(lower=lower, upper=upper, parents=(x.node,), back=back, error=error)
    # max(entry, rival) is at least the entry, and lies below the chord of a convex function of it.
    ends, sole, wide = (lower.maximum(rival), upper.maximum(rival)), lower >= rival, upper - lower > 1e-9
    chord = torch.where(wide, (ends[1] - ends[0]) / (upper - lower).where(wide, 1.0), 0.0)
    high = torch.where(sole, 1.0, chord)
    heights = torch.stack([ends[0] - high * lower, ends[1] - high * upper])
    return _node(
        entry,
        result,
        floor=torch.zeros_like(lower),
        ceiling=torch.where(sole, 0.0, heights.amax(dim=0)),
        low=torch.ones_like(lower),
        high=high,
    )


def _windows(
    x: Interval,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    dilation: Any = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
) -> Tensor | None:
    """Return (H', W', entries) the places of each window in a flattened image, H * W outside; or None."""
    del return_indices
    if ceil_mode or x.lower.ndim != 4 or dilation not in (1, (1, 1), [1, 1]):
        return None
    height, width = x.lower.shape[2:]
    kernel, step, pad = (
        (v, v) if isinstance(v, int) else tuple(v) for v in (kernel_size, stride or kernel_size, padding)
    )
    places = torch.arange(height * width, device=x.lower.device).view(height, width)
    places = F.pad(places, (pad[1], pad[1], pad[0], pad[0]), value=height * width)
    return places.unfold(0, kernel[0], step[0]).unfold(1, kernel[1], step[1]).flatten(2)


def _node(
    x: Interval,
    result: Interval,
    *,
    floor: Tensor,
    ceiling: Tensor,
    low: Tensor,
    high: Tensor,
    free: tuple[Tensor, Tensor] | None = None,
) -> Node:
    """Return a node with these lines, moved apart by all errors."""
    assert x.node is not None
    steepest = torch.maximum(low.abs(), high.abs()).clamp(min=1.0)
    terms = steepest * size(x) + torch.maximum(floor.abs(), ceiling.abs())
    error = result.noise + own(terms, 0.0)
    lines = Lines(floor=floor - error, ceiling=ceiling + error, low=low, high=high, free=free)
    return Node(lower=result.lower, upper=result.upper, parents=(x.node,), lines=lines)
