"""Affine functions on the way back (`backward`): coefficients go through the transposed function.

Autograd knows the transpose of every affine function. Those of dense and convolutional layers are written
out, because autograd computes the layer first.
"""

from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.nn import grad

from robustlab.certify.backward import Back, Node
from robustlab.certify.interval import Interval, NoRuleError, intervals
from robustlab.certify.rounding import own
from robustlab.certify.rules.base import at, size

_CONVOLUTIONS: dict[Any, Any] = {
    F.conv1d: grad.conv1d_input,
    F.conv2d: grad.conv2d_input,
    F.conv3d: grad.conv3d_input,
}
_RESHAPING = {torch.flatten, Tensor.flatten, torch.reshape, Tensor.reshape, Tensor.view}


def same(func: Any, args: Any, options: Any, result: Interval) -> Node | None:
    """Return the argument's own node, for a function that changes nothing."""
    del func, options, result
    return args[0].node  # type: ignore[no-any-return]


def transposed(func: Any, args: Any, options: Any, result: Interval) -> Node:
    """Return the node of an affine function.

    Raises:
        NoRuleError: it mixes the images.
    """
    arguments = list(intervals(args, options))
    if func in _RESHAPING:
        shape = arguments[0].lower.shape
        return _affine(args, options, result, lambda rows: (rows.reshape(len(rows), *shape),), exact=True)

    def call(*values: Tensor) -> Tensor:
        given = iter(values)
        return at(func, args, options, lambda _: next(given))

    zeros = [torch.zeros_like(x.lower) for x in arguments]
    offset, pull, *_ = cast(Any, torch.func.vjp)(call, *zeros)
    back = torch.vmap(pull)
    _check_apart(func, back, result)
    return _affine(args, options, result, back, offset)


def entrywise(func: Any, args: Any, options: Any, result: Interval) -> Node:
    """Return the same of a function with one number of each argument in each result."""
    node = transposed(func, args, options, result)
    (*_, first) = node.parents
    # A broadcast copies numbers; the copies vary together.
    alone = len(node.parents) == 1 and first.lower.numel() == node.lower.numel()
    node.independent = alone and first.independent
    return node


def scaling(func: Any, args: Any, options: Any, result: Interval) -> Node | None:
    """Return the same of a product or a quotient; None for a product of two intervals."""
    return entrywise(func, args, options, result) if len(list(intervals(args, options))) == 1 else None


def layer(func: Any, args: Any, options: Any, result: Interval) -> Node:
    """Return the node of a dense or convolutional layer."""
    return _layer(func, args, options, result, *args, **options)


def _layer(
    func: Any, args: Any, options: Any, result: Interval, x: Interval, weight: Tensor, *rest: Any, **more: Any
) -> Node:
    names = ("bias", "stride", "padding", "dilation", "groups")
    given = dict(zip(names, rest, strict=False)) | more
    bias, shape, weight = given.pop("bias", None), x.lower.shape, weight.to(x.lower.dtype)
    if isinstance(given.get("padding"), str):
        return transposed(func, args, options, result)

    def back(rows: Tensor) -> tuple[Tensor, ...]:
        if func is F.linear:
            return (rows @ weight,)
        flat = rows.flatten(0, 1)
        values = _CONVOLUTIONS[func]((len(flat), *shape[1:]), weight, flat, **given)
        return (values.view(*rows.shape[:2], *shape[1:]),)

    if bias is not None:
        apart = (-1,) if func is F.linear else (-1, *[1] * (weight.ndim - 2))
        bias = bias.to(weight.dtype).view(apart).expand(result.lower.shape)
    return _affine(args, options, result, back, bias)


def _affine(
    args: Any,
    options: Any,
    result: Interval,
    back: Back,
    offset: Tensor | None = None,
    *,
    exact: bool = False,
) -> Node:
    # Bounds in float32 are for trainings: they prove nothing, and have no allowance.
    exact = exact or result.lower.dtype == torch.float32
    return Node(
        lower=result.lower,
        upper=result.upper,
        parents=tuple(x.node for x in intervals(args, options) if x.node is not None),
        back=back,
        offset=offset,
        error=None if exact else result.noise + own(size(result), result.noise),
    )


def _check_apart(func: Any, back: Back, result: Interval) -> None:
    """Raise `NoRuleError` if the first or the last image's results depend on another image's arguments."""
    n = len(result.lower)
    for image in {0, n - 1} if n > 1 else ():
        rows = torch.zeros_like(result.lower)[None]
        rows[:, image] = 1
        others = [row for row in range(n) if row != image]
        if any(step[:, others].any() for step in back(rows)):
            raise NoRuleError(f"{func.__name__} moves the images out of the first dimension")
