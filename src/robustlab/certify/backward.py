"""Linear bounds from the outputs back to the pixels (CROWN, Zhang et al. 2018, arXiv:1811.00866).

While a network runs on intervals, a `Tape` keeps a `Node` for each result. It says how a linear function of
the result is bounded by a linear function of its arguments. There are two kinds of nodes:

- affine: ``y = J x + offset``, exactly;
- lines: ``floor + low * x <= y <= ceiling + high * x``, entry by entry (Xu et al. 2020, arXiv:2002.12920,
  list them for many functions). A box is the case without x, and ends the way back. The pixels are a box, and
  so is the result of a function that has an interval rule but no lines.

`lower_bounds` walks from a node back to the boxes. Its bounds hold for the network as computed in float32,
although they are computed in float64 themselves:

- A float32 layer computes ``y = f(x) + e``, where x are the values computed before and ``|e| <= error``. The
  error is the allowance of the interval rule (`rounding`). A function with the coefficients A loses at most
  ``|A| error`` there, which is subtracted.
- The coefficients of the next step are rounded. The chain of inequalities holds for the rounded ones, if the
  rounding times the size of x is subtracted. `rounding.own` bounds this in proportion to ``|A|``, and it is a
  part of every error.
- `rounding.TINY` covers products that are too small for float64.
"""

import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from robustlab.certify.interval import LINES, TRANSPOSES, Interval, NoRuleError, intervals
from robustlab.certify.rounding import TINY, own
from robustlab.core.threads import begin_work

_COUNT = itertools.count()

Back = Callable[[Tensor], Sequence[Tensor]]

Relaxation = Callable[[Any, Any, Any, Interval], "Node | None"]
"""From a function, its arguments, its options and its result's bounds to the result's node."""

Tighten = Callable[[Any, Interval], None]
"""Called with a function that is not affine, and with an argument of it; it may set tighter bounds."""


@dataclass(eq=False, kw_only=True)
class Node:
    """How a result depends on its arguments, for N images.

    Attributes:
        lower: (N, ...) lower bounds of the result.
        upper: (N, ...) upper bounds.
        parents: the nodes of the arguments.
        back: affine: from coefficients (S, N, ...) of the result to those of each argument.
        offset: affine: (N, ...) the result at 0; none is 0.
        error: affine: (N, ...) how far the computed result may be off; none is exact.
        lines: the lines, or the box; none of an affine node.
        independent: whether any point of the box of bounds may occur. The interval bounds of a linear
            function of it are then exact.
        tight: whether the way back could not improve the bounds any more.
    """

    lower: Tensor
    upper: Tensor
    parents: "tuple[Node, ...]" = ()
    back: Back | None = None
    offset: Tensor | None = None
    error: Tensor | None = None
    lines: "Lines | None" = None
    independent: bool = False
    tight: bool = False
    index: int = field(default_factory=lambda: next(_COUNT))


@dataclass(eq=False, kw_only=True)
class Lines:
    """A line below a function and one above it, entry by entry.

    Attributes:
        floor: (N, ...) the lower line at 0, less all errors.
        ceiling: (N, ...) the upper line at 0, plus all errors.
        low: (N, ...) the lower line's slope; none in a box.
        high: (N, ...) the upper line's slope; none in a box.
        free: (N, ...) the least and the largest slope that the lower line may have with the same floor.
    """

    floor: Tensor
    ceiling: Tensor
    low: Tensor | None = None
    high: Tensor | None = None
    free: tuple[Tensor, Tensor] | None = None


def box(lower: Tensor, upper: Tensor, *, independent: bool = False) -> Node:
    """Return a node of which only the bounds are known."""
    spare = own(torch.maximum(-lower, upper), 0.0)
    lines = Lines(floor=lower - spare, ceiling=upper + spare)
    return Node(lower=lower, upper=upper, lines=lines, independent=independent)


def way_back(node: Node) -> list[Node]:
    """Return a node and all that it depends on, each once."""
    nodes, seen = [node], {node}
    for here in nodes:
        further = [parent for parent in dict.fromkeys(here.parents) if parent not in seen]
        nodes += further
        seen.update(further)
    return nodes


def lower_bounds(
    node: Node,
    rows: Tensor,
    *,
    both: bool = False,
    slopes: Mapping[Node, Tensor] | None = None,
    added: Mapping[Node, Tensor] | None = None,
) -> Tensor:
    """Return (S, N) lower bounds of linear functions of a node's values.

    Args:
        node: what the functions depend on.
        rows: (S, N, ...) their coefficients.
        both: also bound the functions' negatives, in rows S to 2 S - 1 of the result. They share the way back
            until the first lines. Not with autograd.
        slopes: for some nodes, slopes (S, N, ...) or (1, N, ...) instead of those of the lower lines.
        added: for some nodes, coefficients (S, N, ...) of their values, added to the functions.
    """
    begin_work(node.lower, ("way back", len(rows).bit_length()))
    pending, slopes, added = {node: rows}, slopes or {}, added or {}
    constant = loss = torch.zeros(rows.shape[:2], dtype=rows.dtype, device=rows.device)
    while pending:
        here = max(pending, key=lambda each: each.index)
        rows = pending.pop(here)
        rows = rows + added[here] if here in added else rows
        if here.lines is None:
            assert here.back is not None
            constant = constant if here.offset is None else constant + _dot(rows, here.offset)
            loss = loss if here.error is None else loss + _dot(rows.abs(), here.error)
            steps = here.back(rows)
        else:
            # Positive coefficients take the lower line, and negative ones the upper line.
            lines, sizes = here.lines, rows.abs()
            at_zero = _dot(rows, (lines.floor + lines.ceiling) / 2)
            gap = (lines.ceiling - lines.floor) / 2
            apart = _dot(sizes, gap)
            constant = _mirrored(constant + at_zero, both=both)
            loss = torch.cat([loss + apart] * 2) if both else loss + apart
            low, high, steps = slopes.get(here, lines.low), lines.high, ()
            if low is not None and high is not None:
                # In place, unless autograd still needs the sizes, for the gradient of the gap.
                spread = (torch.mul if gap.requires_grad else Tensor.mul_)(sizes, (low - high) / 2)
                steps = (_mirrored(rows * ((low + high) / 2), spread, both=both),)
            pending = {each: _mirrored(rows, both=both) for each, rows in pending.items()}
            both = False
        for parent, step in zip(here.parents, steps, strict=True):
            pending[parent] = pending[parent] + step if parent in pending else step
    return constant - loss - TINY


def _mirrored(rows: Tensor, common: Tensor | None = None, *, both: bool) -> Tensor:
    """Return ``common + rows``; if ``both``, then ``common - rows``, too."""
    if not both:
        return rows if common is None else rows.add_(common)
    result = rows.new_empty((2 * len(rows), *rows.shape[1:]))
    common = rows.new_zeros(()) if common is None else common
    torch.add(common, rows, out=result[: len(rows)])
    torch.sub(common, rows, out=result[len(rows) :])
    return result


def _dot(rows: Tensor, values: Tensor) -> Tensor:
    """Return (S, N) the sums over all but the first two dimensions."""
    # A result of one number for each image has no dimension to flatten.
    s, n = rows.shape[:2]
    return torch.einsum("snd,nd->sn", rows.reshape(s, n, -1), values.reshape(n, -1))


class Tape:
    """Adds a node to each result of a network that runs on intervals."""

    def __init__(self, tighten: Tighten | None = None) -> None:
        self.tighten = tighten

    def start(self, pixels: Interval) -> Interval:
        """Return the pixels with a node."""
        pixels.node, pixels.tape = box(pixels.lower, pixels.upper, independent=True), self
        return pixels

    def before(self, func: Any, args: Any, options: Any) -> None:
        """Tighten the bounds of a function's arguments, unless it is affine."""
        if self.tighten is not None and func not in TRANSPOSES:
            for x in intervals(args, options):
                if x.node is not None:
                    self.tighten(func, x)

    def after(self, func: Any, args: Any, options: Any, result: Any) -> None:
        """Give a function's results their nodes."""
        if isinstance(result, Interval):
            if result.node is None:  # dropout may return its argument
                result.node, result.tape = _node(func, func, args, options, result), self
            return
        for place, part in enumerate(result):
            part.node, part.tape = _node(func, _Part(func, place), args, options, part), self


def _node(kind: Any, func: Any, args: Any, options: Any, result: Interval) -> Node:
    first = next(intervals(args, options)).lower
    if result.lower.shape[:1] != first.shape[:1]:
        raise NoRuleError(f"{func.__name__} moves the images out of the first dimension")
    relaxation: Relaxation | None = TRANSPOSES.get(kind) or LINES.get(kind)
    node = None if relaxation is None else relaxation(func, args, options, result)
    return box(result.lower, result.upper) if node is None else node


class _Part:
    """One of the results of a function with several."""

    def __init__(self, func: Any, place: int) -> None:
        self.func, self.place, self.__name__ = func, place, func.__name__

    def __call__(self, *args: Any, **options: Any) -> Any:
        return self.func(*args, **options)[self.place]
