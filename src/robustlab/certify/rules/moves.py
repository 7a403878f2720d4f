"""Functions that pass values on: casts, dropout in eval mode, views, selections.

Their result may share memory with their argument, so it counts as a view of it.
"""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from robustlab.certify.interval import Ball, Interval, NoRuleError, depends, intervals
from robustlab.certify.rules.affine import entrywise, same, transposed
from robustlab.certify.rules.base import FLOATS, number, register, size

_CASTS: dict[str, torch.dtype] = {
    "half": torch.float16,
    "bfloat16": torch.bfloat16,
    "bool": torch.bool,
    "byte": torch.uint8,
    "char": torch.int8,
    "short": torch.int16,
    "int": torch.int32,
    "long": torch.int64,
    "chalf": torch.complex32,
    "cfloat": torch.complex64,
    "cdouble": torch.complex128,
}
"""Methods that cast to a type in which values are rounded, or that bounds do not follow."""


def _unchanged(func: Any, x: Any, *args: Any, **options: Any) -> Interval:
    if options.get("training"):
        raise NoRuleError(f"{func.__name__} is random")
    if not isinstance(x, Interval):
        raise NoRuleError(f"{func.__name__} has an interval rule only for values that depend on the image")
    number((*args, *options.values()), size, torch.float64)
    # Dropout, and float() of a float32 tensor, return the same object.
    return x if "training" in options or func is Tensor.float else _view(x, x.lower, x.upper, x.ball)


def _cast(func: Any, x: Any, *args: Any, **options: Any) -> Any:
    """Casts to float32 and float64 change nothing; all others round."""
    arguments = (*args, *options.values())
    types = [
        value.dtype if isinstance(value, Tensor) else value
        for value in (*arguments, _CASTS.get(func.__name__))
    ]
    types = [kind for kind in types if isinstance(kind, torch.dtype)]
    if not types and func is Tensor.type:
        raise NoRuleError("type has an interval rule only for a torch.dtype, such as torch.float32")
    for kind in types:
        if kind not in FLOATS:
            raise NoRuleError(f"{func.__name__} casts to {kind}; proofs hold for float32")
    if isinstance(x, Interval):
        return _view(x, x.lower, x.upper, x.ball)
    # Numbers get the type and the device of the bounded values.
    return func(x, next(intervals(args, options)).lower.new_empty((), dtype=torch.float32))


def _view(x: Interval, lower: Tensor, upper: Tensor, ball: Ball | None = None) -> Interval:
    return Interval(lower, upper, ball=ball, view_of=x)


def _moved(func: Any, x: Any, *args: Any, **options: Any) -> Any:
    arguments = (*args, *options.values())
    if depends(arguments) or any(isinstance(value, torch.dtype) for value in arguments):
        raise NoRuleError(f"{func.__name__} has no interval rule for these arguments")
    # The bounds may have another memory layout than the network's values, and could then not be viewed like
    # them.
    func = Tensor.reshape if func is Tensor.view else func
    lower, upper = func(x.lower, *args, **options), func(x.upper, *args, **options)
    if not isinstance(lower, Tensor):
        return type(lower)(_view(x, *ends) for ends in zip(lower, upper, strict=True))
    if x.ball is None or func not in _REARRANGING:
        return _view(x, lower, upper)
    centre, edge, error = (func(part, *args, **options) for part in x.ball[2:])
    return _view(x, lower, upper, x.ball._replace(centre=centre, edge=edge, error=error))


def _resized(func: Any, x: Any, *args: Any, **options: Any) -> Any:
    mode = str(args[2] if len(args) > 2 else options.get("mode", "nearest"))
    if not mode.startswith("nearest"):
        raise NoRuleError(f"{func.__name__} has an interval rule only for nearest pixels, found {mode}")
    # torch computes the places in the format of the values; a proof is for those of float32.
    places = torch.arange(x.lower[0, 0].numel(), dtype=torch.float32, device=x.lower.device)
    copied = func(places.view(1, 1, *x.lower.shape[2:]), *args, **options)
    return x.flatten(2)[:, :, copied.long().flatten()].unflatten(2, copied.shape[2:])


register(_unchanged, "float double contiguous detach clone", [Tensor], transpose=same)
register(_cast, "to type type_as", [Tensor], transpose=same)
register(_cast, " ".join(_CASTS), [Tensor])
register(
    _unchanged,
    "dropout dropout1d dropout2d dropout3d alpha_dropout feature_alpha_dropout",
    [F],
    transpose=same,
)

# A copied pixel moves all its copies at once, but a ball's norm does not count them; these functions copy
# none.
_REARRANGING = register(
    _moved,
    "view reshape flatten unflatten permute transpose t movedim squeeze unsqueeze",
    (torch, Tensor),
    transpose=entrywise,
)
_COPYING = "__getitem__ narrow select chunk split unbind expand repeat flip roll"
register(_moved, _COPYING, (torch, Tensor), transpose=transposed)
# The operations that the rule is made of have nodes already.
register(_resized, "interpolate", [F], transpose=transposed)
