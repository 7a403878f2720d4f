"""Lines below and above functions that are not affine (`backward`), from the bounds of their arguments.

Rectifiers: Zhang et al. 2018 (arXiv:1811.00866), with the lower line of the smaller area. S-shaped functions: the
tangents and chords of the same paper. Largest of several: a line of the entry with the largest lower bound.
"""

import math
from collections.abc import Callable
from typing import Any

import torch
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
    return _node(args[0], result, *_bent(args[0], torch.zeros_like(args[0].lower)))


def leaky(func: Any, args: Any, options: Any, result: Interval) -> Node:
    """Return the node of ``x`` above 0 and ``slope * x`` below."""
    x, *rest = args
    slope = number(rest[0] if rest else options.get("negative_slope", options.get("weight", 0.01)), size, x.lower.dtype)
    slope = torch.as_tensor(slope, dtype=x.lower.dtype, device=x.lower.device)
    if func.__name__ == "prelu" and slope.numel() > 1:
        slope = slope.view(-1, *[1] * (x.lower.ndim - 2))
    return _node(x, result, *_bent(x, slope.expand_as(x.lower)))


def _bent(x: Interval, slope: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor, tuple[Tensor, Tensor] | None]:
    """Return floor, ceiling, slopes and free slopes of a function that is bent at 0 from ``slope`` to 1."""
    lower, upper = x.lower, x.upper
    at_lower, at_upper = lower.where(lower > 0, slope * lower), upper.where(upper > 0, slope * upper)
    bent = (lower < 0) & (upper > 0)
    gap = (upper - lower).where(bent, 1.0)
    steady = torch.where(lower >= 0, 1.0, slope)
    chord = ((at_upper - at_lower) / gap).where(bent, steady)
    # The chord's value at 0, from the end where it is the more exact.
    height = torch.where(bent, torch.maximum(at_upper - chord * upper, at_lower - chord * lower), 0.0)
    depth = torch.where(bent, torch.minimum(at_upper - chord * upper, at_lower - chord * lower), 0.0)
    through_zero = torch.where(upper > -lower, 1.0, slope).where(bent, steady)
    convex, zero = slope <= 1, torch.zeros_like(lower)
    free = (
        torch.where(bent & convex, slope, steady),
        torch.where(bent & convex, 1.0, steady),
    )
    # Where it is concave the chord lies below, and its slope is not free.
    free = (free[0].where(~bent | convex, chord), free[1].where(~bent | convex, chord))
    return (
        torch.where(convex, zero, depth),
        torch.where(convex, height, zero),
        torch.where(convex, through_zero, chord),
        torch.where(convex, chord, through_zero),
        free,
    )


def sigmoid(func: Any, args: Any, options: Any, result: Interval) -> Node:
    """Return the node of the logistic function."""
    del func, options

    def critical(slope: Tensor) -> Tensor:
        value = (1 + (1 - 4 * slope).clamp(min=0).sqrt()) / 2
        return torch.log(value / (1 - value))

    return _s_shaped(args[0], result, torch.sigmoid, lambda x: torch.sigmoid(x) * torch.sigmoid(-x), critical)


def tanh(func: Any, args: Any, options: Any, result: Interval) -> Node:
    """Return the node of the hyperbolic tangent."""
    del func, options
    return _s_shaped(
        args[0],
        result,
        torch.tanh,
        lambda x: 1 - torch.tanh(x).square(),
        lambda slope: torch.atanh((1 - slope).clamp(min=0).sqrt()),
    )


def _s_shaped(x: Interval, result: Interval, function: Function, slope_of: Function, critical: Function) -> Node:
    """Return the node of a function that is convex below 0, concave above, and symmetric.

    Any slope is good for a line: its value at 0 is the least of ``function(x) - slope * x``, which lies at an end
    or where the function has that slope (``critical``, and its negative).
    """
    lower, upper = x.lower, x.upper
    low, high = _tangent(lower, upper, function, slope_of), _tangent(-upper, -lower, function, slope_of)

    def values(slope: Tensor) -> Tensor:
        there = critical(slope).nan_to_num(0.0)
        places = (lower, upper, there.clamp(lower, upper), (-there).clamp(lower, upper))
        return torch.stack([function(place) - slope * place for place in places])

    return _node(x, result, values(low).amin(dim=0), values(high).amax(dim=0), low, high, None)


def _tangent(lower: Tensor, upper: Tensor, function: Function, slope_of: Function) -> Tensor:
    """Return the slope of a good line below the function."""
    gap = upper - lower
    middle = (upper + lower) / 2
    chord = ((function(upper) - function(lower)) / gap).where(gap > 1e-6, slope_of(middle))
    # From the upper end, the tangent to the convex part; the further left it touches, the lower it ends.
    left, right = lower, torch.zeros_like(lower)
    for _ in range(_BISECTIONS):
        place = (left + right) / 2
        below = function(place) + slope_of(place) * (upper - place) < function(upper)
        left, right = place.where(below, left), right.where(below, place)
    crosses = (lower < 0) & (upper > 0)
    touching = slope_of(left).where(left > lower, chord)
    return torch.where(crosses, touching, torch.where(upper <= 0, slope_of(middle), chord))


def largest(func: Any, args: Any, options: Any, result: Interval) -> Node | None:
    """Return the node of two-dimensional max pooling; None with options that it does not follow."""
    windows = _windows(*args, **options)
    if windows is None or windows.shape[-1] == 0:
        return None
    x, (n, *_), out = args[0], args[0].lower.shape, result.lower.shape
    if windows.shape[:2] != out[2:] or x.lower.ndim != 4:
        return None
    channels = x.lower.flatten(2)
    outside = torch.full_like(channels[..., :1], -math.inf)
    lows, highs = (torch.cat([v.flatten(2), outside], dim=2)[..., windows] for v in (x.lower, x.upper))
    chosen = lows.argmax(dim=-1, keepdim=True)
    rival = highs.scatter(-1, chosen, -math.inf).amax(dim=-1)
    places = windows.expand_as(lows).gather(-1, chosen)[..., 0].flatten(2)

    def back(rows: Tensor) -> tuple[Tensor, ...]:
        zeros = torch.zeros((*rows.shape[:2], *channels.shape[1:]), dtype=rows.dtype, device=rows.device)
        sums = zeros.scatter_add(-1, places.expand(len(rows), *places.shape), rows.flatten(3))
        return (sums.view(*rows.shape[:2], *x.lower.shape[1:]),)

    lower, upper = (v.flatten(2).gather(-1, places).view(out) for v in (x.lower, x.upper))
    assert x.node is not None
    selected = Node(lower=lower, upper=upper, parents=(x.node,), back=back, error=own(torch.maximum(-lower, upper), 0.0))
    # max(chosen, rival) is at least the chosen entry, and convex in it.
    ends = lower.maximum(rival), upper.maximum(rival)
    gap = upper - lower
    sole, wide = lower >= rival, gap > 1e-9
    high = torch.where(sole, 1.0, torch.where(wide, (ends[1] - ends[0]) / gap.where(wide, 1.0), 0.0))
    ceiling = torch.where(sole, 0.0, torch.maximum(ends[0] - high * lower, ends[1] - high * upper))
    pooled = Interval(lower, upper)
    pooled.node = selected
    zero = torch.zeros_like(lower)
    return _node(pooled, result, zero, ceiling, torch.ones_like(lower), high, None)


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
    if ceil_mode or x.lower.ndim != 4 or x.lower.dtype != torch.float64:
        return None
    height, width = x.lower.shape[2:]
    kernel, step, pad, apart = (
        (v, v) if isinstance(v, int) else tuple(v) for v in (kernel_size, stride or kernel_size, padding, dilation)
    )
    if apart != (1, 1):
        return None
    places = torch.arange(height * width, device=x.lower.device).view(height, width)
    places = torch.nn.functional.pad(places, (pad[1], pad[1], pad[0], pad[0]), value=height * width)
    return places.unfold(0, kernel[0], step[0]).unfold(1, kernel[1], step[1]).flatten(2)


def _node(
    x: Interval,
    result: Interval,
    floor: Tensor,
    ceiling: Tensor,
    low: Tensor,
    high: Tensor,
    free: tuple[Tensor, Tensor] | None,
) -> Node:
    """Return a node with these lines, moved apart by all errors."""
    noise = result.noise
    assert x.node is not None
    steepest = torch.maximum(low.abs(), high.abs())
    terms = size(x) * steepest.clamp(min=1.0) + torch.maximum(floor.abs(), ceiling.abs())
    error = noise + own(terms, 0.0)
    lines = Lines(floor=floor - error, ceiling=ceiling + error, low=low, high=high, free=free)
    return Node(lower=result.lower, upper=result.upper, parents=(x.node,), lines=lines)
