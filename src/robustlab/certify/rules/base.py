"""Helpers of the rules: functions evaluated at an end of their intervals, and the table of rules."""

import math
from collections.abc import Callable, Iterable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from robustlab.certify.backward import Relaxation
from robustlab.certify.interval import (
    IN_PLACE,
    LINES,
    NO_LARGER,
    RULES,
    TRANSPOSES,
    Interval,
    NoRuleError,
    Rule,
    intervals,
)

FLOATS = (torch.float32, torch.float64)
"""The types that the bounds of a proof may follow."""

Pick = Callable[[Interval], Tensor]
"""Returns the tensor that replaces an interval."""


def register(
    rule: Rule,
    names: str,
    homes: Iterable[Any] = (torch, F, Tensor),
    *,
    transpose: Relaxation | None = None,
    lines: Relaxation | None = None,
    no_larger: bool = False,
) -> set[Any]:
    """Give functions a rule wherever torch keeps them, their variants in place included; return them.

    The way back (`backward`) goes through affine functions by their ``transpose`` and through others by
    ``lines``. It ends at a function with neither, and takes the bounds of the rule. The results of all
    functions are checked to stay in float32's range, unless they are ``no_larger`` than the arguments.
    """
    kinds = set()
    for name in names.split():
        for home in homes:
            if hasattr(home, name):
                kinds.add(getattr(home, name))
                if hasattr(home, name + "_"):
                    IN_PLACE[getattr(home, name + "_")] = getattr(home, name)
    RULES.update(dict.fromkeys(kinds, rule))
    if no_larger:
        NO_LARGER.update(kinds)
    for table, relaxation in ((TRANSPOSES, transpose), (LINES, lines)):
        if relaxation is not None:
            table.update(dict.fromkeys(kinds, relaxation))
    return kinds


def at(func: Any, args: Any, options: dict[str, Any], pick: Pick) -> Tensor:
    """Return the function's value with ``pick`` of every interval, all in the dtype of the bounds."""
    dtype = next(intervals(args, options)).lower.dtype
    result = func(
        *number(args, pick, dtype), **{name: number(value, pick, dtype) for name, value in options.items()}
    )
    if not isinstance(result, Tensor):
        raise NoRuleError(f"{func.__name__} has no interval rule with these options")
    return result


def number(value: Any, pick: Pick, dtype: torch.dtype) -> Any:
    """Return an argument of a function with tensors instead of intervals, in the dtype of the bounds.

    Raises:
        NoRuleError: the argument requests a precision below float32, or is outside of its range.
    """
    if isinstance(value, Interval):
        return pick(value)
    if isinstance(value, list | tuple):
        entries = [number(entry, pick, dtype) for entry in value]
        return tuple(entries) if isinstance(value, tuple) else entries
    if isinstance(value, torch.dtype) or (isinstance(value, Tensor) and value.is_floating_point()):
        own = value if isinstance(value, torch.dtype) else value.dtype
        if own not in FLOATS:
            raise NoRuleError(f"it computes in {own}; proofs hold for float32")
        if isinstance(value, Tensor) and value.ndim == 0 and own == torch.float64:
            _check_range(value, dtype)
        return dtype if isinstance(value, torch.dtype) else value.to(dtype)
    if isinstance(value, float):
        _check_range(value, dtype)
    return value


def _check_range(value: Any, dtype: torch.dtype) -> None:
    """Raise `NoRuleError` if a number, which torch converts to float32, is too large or too small for it."""
    number = float(value)
    if dtype == torch.float64 and number and math.isfinite(number) and not 2**-126 <= abs(number) < 2**127:
        raise NoRuleError(f"it computes with {number:g}; proofs hold for float32, which can't represent it")


def size(x: Interval) -> Tensor:
    """Return the largest absolute value within each interval."""
    return torch.maximum(-x.lower, x.upper)
