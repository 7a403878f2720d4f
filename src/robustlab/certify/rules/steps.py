"""The step function, 0 below zero and 1 from zero on: behind it only the corners of a box occur."""

from typing import Any

import torch
from torch import Tensor

from robustlab.certify.backward import Node, box
from robustlab.certify.interval import Ball, Interval, NoRuleError, depends
from robustlab.certify.rules.base import at, register

_SPARE = 1e-9
"""More than the share by which rounding in float64 changes the length of a move."""


def _step(func: Any, x: Any, values: Any) -> Interval:
    """Return the values at the bounds; they are exact, so nothing is added for rounding."""
    if depends(values) or not isinstance(x, Interval) or not bool(((values >= 0) & (values <= 1)).all()):
        raise NoRuleError(f"{func.__name__} increases only with a fixed value from 0 to 1 at zero")
    lower, upper = (at(func, (x, values), {}, end) for end in (lambda x: x.lower, lambda x: x.upper))
    return Interval(lower, upper, ball=None if x.ball is None else _flips(x.ball, lower, upper))


def _flips(ball: Ball, lower: Tensor, upper: Tensor) -> Ball:
    """Return the ball of the results, which are 0 or 1.

    A result changes only if its argument moves to zero. This takes an entry of the ball's vector of at least
    ``need``. So the results are their values at the centre, plus or minus ``need`` times 0 or 1, over
    ``need``; and the norm of these products is at most that of the ball's own vector.
    """
    centre = torch.heaviside(ball.centre, torch.ones((), dtype=lower.dtype, device=lower.device))
    scale = (ball.edge - ball.centre).abs()
    need = (ball.centre.abs() - ball.error) / scale.clamp(min=1e-30) * (1 - _SPARE)
    open_ones = lower < upper
    # An entry that is almost at zero may change at no cost.
    free = open_ones & (need < 1e-6)
    per_unit = torch.ones_like(need) if ball.order == 0 else 1 / need.clamp(min=1e-6)
    move = torch.where(open_ones & ~free, per_unit, 0.0) * (1 - 2 * centre)
    return Ball(ball.order, ball.eps, centre, centre + move, free.to(lower.dtype))


def _corners(func: Any, args: Any, options: Any, result: Interval) -> Node:
    """Return a node without lines: an end of the way back.

    The results are independent, as `Node` means it, if the arguments are.
    """
    del func, options
    node = args[0].node
    return box(result.lower, result.upper, independent=node is not None and node.independent)


STEPS = register(_step, "heaviside", lines=_corners)
"""The step functions."""
