"""Linear layers: the weights map the centre of the interval, their absolute values its radius.

Interval bound propagation (Gowal et al. 2018, arXiv:1810.12715), section 3. If the input is an affine
function of the pixels, the dual norm of an L2, L1 or L0 ball gives its radius too. The bound of an output is
``eps`` times the L2 norm of its weights, ``eps`` times their largest size, or the sum of their ``eps``
largest sizes.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from robustlab.certify.interval import Ball, Interval, IntervalSource, NoRuleError, depends
from robustlab.certify.rounding import gamma, underflow
from robustlab.certify.rules.affine import layer, transposed
from robustlab.certify.rules.base import register, size

Layer = Callable[[Tensor, Tensor, Tensor | None], Tensor]
"""A linear map of (values, weight, bias), the bias one number per output channel."""

_FORMAT: ContextVar[torch.dtype | None] = ContextVar("format of products", default=None)


@contextmanager
def products_in(dtype: torch.dtype | None) -> Iterator[None]:
    """Let layers multiply float32 bounds in another format, as autocast does; None changes nothing.

    It is for trainings, where bounds prove nothing. Bounds stay in float32 between the layers.
    """
    before = _FORMAT.set(dtype)
    try:
        yield
    finally:
        _FORMAT.reset(before)


def through(
    layer: Layer, x: Interval, weight: Tensor, bias: Tensor | None, allowance: float
) -> tuple[Tensor, Tensor]:
    """Return lower and upper bounds of a linear layer's output.

    Args:
        layer: the layer.
        x: the bounds of its input.
        weight: (outputs, ...) in the dtype of the bounds; entry k computes output channel k.
        bias: (outputs,) or none.
        allowance: for rounding: the relative error of each input, and of the bias.
    """
    sizes = weight.abs()
    lost = torch.full_like(weight.flatten(1)[:, 0], underflow(weight[0].numel(), weight.dtype))
    if bias is not None:
        lost += allowance * bias.abs()
    centre, radius = (x.upper + x.lower).mul_(0.5), (x.upper - x.lower).mul_(0.5)
    # The quick test does not account for rounding; most images need only this test.
    noise = allowance * (centre.abs() + radius) if allowance else None
    middle, reach = layer(centre, weight, bias), layer(_sum(radius, noise), sizes, lost)
    lower, upper = middle - reach, middle + reach
    if x.ball is not None:
        middle = layer(x.ball.centre, weight, bias)
        reach = _dual(layer, x.ball, weight) + layer(_sum(x.ball.error, noise), sizes, lost)
        lower, upper = torch.maximum(lower, middle - reach), torch.minimum(upper, middle + reach)
    return lower, upper


def _sum(size: Tensor, noise: Tensor | None) -> Tensor:
    return size if noise is None else size + noise


def _dual(layer: Layer, ball: Ball, weight: Tensor) -> Tensor:
    """Return how far the outputs move at most within the ball; per image, output and place, or broadcast."""
    scale = (ball.edge - ball.centre).abs()
    if ball.order == 2:
        return ball.eps * layer(scale.square(), weight.square(), None).sqrt()
    sizes = weight.abs().flatten(1)
    if ball.order == 1:
        norms = ball.eps * sizes.amax(dim=1)
    else:
        norms = sizes.topk(min(int(ball.eps), sizes.shape[1]), dim=1).values.sum(dim=1)
    # Filters have their outputs in the second dimension of the result, rows of a matrix in the last.
    return (scale.amax() * norms).view(-1, *[1] * (weight.ndim - 2))


def _product(func: Any, dtype: torch.dtype) -> Any:
    """Return a layer's function on bounds of a dtype, in the format of `products_in`."""
    chosen = _FORMAT.get()
    if chosen is None or dtype != torch.float32:
        return func

    def product(*values: Any, **options: Any) -> Tensor:
        values = tuple(v.to(chosen) if isinstance(v, Tensor) else v for v in values)
        return func(*values, **options).to(dtype)  # type: ignore[no-any-return]

    return product


def _linear(func: Any, x: Any, weight: Any, bias: Any = None, *geometry: Any, **more: Any) -> Interval:
    if not isinstance(x, Interval) or depends(weight, bias):
        raise NoRuleError(f"{func.__name__} has an interval rule only for fixed weights")
    dtype = x.lower.dtype
    weight, bias = weight.to(dtype), None if bias is None else bias.to(dtype)
    allowance = gamma(weight[0].numel() + 1, dtype)
    product = _product(func, dtype)
    lower, upper = through(
        lambda values, w, b: product(values, w, b, *geometry, **more), x, weight, bias, allowance
    )
    noise: Any = 0.0
    if x.node is not None and allowance:
        lost = torch.full_like(weight.flatten(1)[:, 0], underflow(weight[0].numel(), dtype))
        if bias is not None:
            lost += allowance * bias.abs()
        noise = func(allowance * size(x), weight.abs(), lost, *geometry, **more)
    if func is not F.linear:
        return Interval(lower, upper, noise=noise)
    # A copy: an operation in place may yet change the input.
    values = Interval(x.lower, x.upper, ball=x.ball)
    return Interval(lower, upper, noise=noise, source=IntervalSource(values, weight, bias))


def _matmul(func: Any, x: Any, other: Any) -> Interval:
    if not isinstance(x, Interval) or depends(other) or other.ndim != 2:
        raise NoRuleError(f"{func.__name__} has an interval rule only for fixed matrices on the right")
    return _linear(F.linear, x, other.t())


register(_linear, "linear conv1d conv2d conv3d", [F], transpose=layer)
register(_matmul, "matmul mm __matmul__", (torch, Tensor), transpose=transposed)
