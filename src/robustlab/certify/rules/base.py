"""Helpers of the rules: functions evaluated at an end of their intervals, and the table of rules."""

from collections.abc import Callable, Iterable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from robustlab.certify.backward import Relaxation
from robustlab.certify.interval import (
    IN_PLACE,
    LINES,
    RULES,
    TRANSPOSES,
    Interval,
    NoRuleError,
    Rule,
    intervals,
)
from robustlab.certify.rounding import LARGEST

_FLOATS = (torch.float32, torch.float64)

Pick = Callable[[Interval], Tensor]
"""Returns the tensor that replaces an interval."""


def register(
    rule: Rule,
    names: str,
    homes: Iterable[Any] = (torch, F, Tensor),
    *,
    transpose: Relaxation | None = None,
    lines: Relaxation | None = None,
) -> set[Any]:
    """Give functions a rule wherever torch keeps them, their variants in place included; return them.

    The way back (`backward`) goes through affine functions by their ``transpose`` and through others by
    ``lines``. It ends at a function with neither, and takes the bounds of the rule.
    """
    kinds = set()
    for name in names.split():
        for home in homes:
            if hasattr(home, name):
                kinds.add(getattr(home, name))
                if hasattr(home, name + "_"):
                    IN_PLACE[getattr(home, name + "_")] = getattr(home, name)
    RULES.update(dict.fromkeys(kinds, rule))
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
        NoRuleError: the argument requests a precision below float32.
    """
    if isinstance(value, Interval):
        return pick(value)
    if isinstance(value, list | tuple):
        entries = [number(entry, pick, dtype) for entry in value]
        return tuple(entries) if isinstance(value, tuple) else entries
    if isinstance(value, torch.dtype) or (isinstance(value, Tensor) and value.is_floating_point()):
        own = value if isinstance(value, torch.dtype) else value.dtype
        if own not in _FLOATS:
            raise NoRuleError(f"it computes in {own}; proofs hold for float32")
        return dtype if isinstance(value, torch.dtype) else value.to(dtype)
    return value


def size(x: Interval) -> Tensor:
    """Return the largest absolute value within each interval."""
    return torch.maximum(-x.lower, x.upper)


def within_float32(lower: Tensor, upper: Tensor) -> None:
    """Raise `NoRuleError` if float32 might overflow; the quick test in float32 gives NaN by itself."""
    if lower.dtype == torch.float64 and not (lower.min() > -LARGEST and upper.max() < LARGEST):
        raise NoRuleError("its values may leave the range of float32")
