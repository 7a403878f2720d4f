"""Intervals instead of tensors: the network's own code runs on bounds instead of values.

An `Interval` is a tensor without values that knows a lower and an upper bound for each. When a network gets
it, every torch function that the network calls uses that function's rule (`rules`) or raises `NoRuleError`.
So there is no second description of the network that could differ from the first. Subclasses, hooks,
parametrised weights and control flow on shapes work as they run. Control flow on values raises `NoRuleError`.
A network may catch this error and go on. So every error is also noted in a list that all intervals of a pass
share (`Interval.refused`). Who started the pass raises what was noted (`margins.logits_of`).
"""

import inspect
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, NamedTuple, Self

import torch
from torch import Tensor

from robustlab.certify.rounding import within_float32
from robustlab.core.errors import RobustlabError
from robustlab.core.text import shown

if TYPE_CHECKING:
    from robustlab.certify.backward import Node, Tape

Rule = Callable[..., Any]

RULES: dict[Any, Rule] = {}
"""The rule of each torch function: called with the function and its arguments."""

TRANSPOSES: dict[Any, Any] = {}
"""For the affine ones of these, what gives the node of a result: see `backward`."""

LINES: dict[Any, Any] = {}
"""For others, what gives the node of a result by lines below and above it."""

IN_PLACE: dict[Any, Any] = {}
"""For each function that writes into its argument, the one that returns its result instead."""

NO_LARGER: set[Any] = set()
"""Functions whose results lie between their arguments and 0, so within the range of float32."""

_FACTS = {
    getattr(torch.Tensor, name)
    for name in ("size", "dim", "numel", "stride", "is_contiguous", "is_floating_point", "__len__")
} | {
    getattr(torch.Tensor, name).__get__
    for name in ("shape", "ndim", "dtype", "device", "layout", "is_cuda", "requires_grad")
}


class NoRuleError(RobustlabError):
    """Bounds can't be taken through an operation; the message names it and gives the reason."""


class Ball(NamedTuple):
    """A second bound of the values: ``centre + (edge - centre) * d``, up to ``error``.

    ``d`` is one vector per image: its L2 or L1 norm is at most ``eps`` or, for order 0, at most ``eps`` of
    its entries differ from 0, and they lie in [-1, 1].
    """

    order: int
    eps: float
    centre: Tensor
    edge: Tensor
    error: Tensor


class IntervalSource(NamedTuple):
    """The linear layer, in the dtype of the bounds, that an interval came out of."""

    values: "Interval"
    weight: Tensor
    bias: Tensor | None


class _Memory:
    """The state that views of one tensor share; the version counts the writes."""

    version: int = 0


class Interval(Tensor):
    """A float32 tensor of which robustlab knows only bounds; see the module's docstring.

    Attributes:
        lower: the lower bounds, in float64 (or float32, for the quick test).
        upper: the upper bounds.
        ball: a second bound, as long as each value is an affine function of one pixel.
        source: the linear layer whose output this is.
        noise: how far the float32 result may lie from the function's exact one of the same arguments.
        node: how it depends on the pixels, while a tape runs.
        tape: the tape that runs.
        refused: the errors of the pass so far, those included that the network caught.
    """

    lower: Tensor
    upper: Tensor
    ball: Ball | None
    source: IntervalSource | None
    noise: Tensor | float
    node: "Node | None"
    tape: "Tape | None"
    refused: list[BaseException]
    _memory: _Memory

    def __new__(cls, lower: Tensor, *_: Any, **__: Any) -> Self:
        return Tensor._make_wrapper_subclass(
            cls, lower.shape, strides=lower.stride(), dtype=torch.float32, device=lower.device
        )

    def __init__(
        self,
        lower: Tensor,
        upper: Tensor,
        *,
        ball: Ball | None = None,
        source: IntervalSource | None = None,
        noise: Tensor | float = 0.0,
        view_of: "Interval | None" = None,
    ) -> None:
        self.lower, self.upper, self.ball, self.source = lower, upper, ball, source
        self.noise, self.node, self.tape, self.refused = noise, None, None, []
        self._memory = _Memory() if view_of is None else view_of._memory
        self._seen = self._memory.version

    def __repr__(self) -> str:  # type: ignore[override]
        return f"Interval(lower={self.lower}, upper={self.upper})"

    def check_current(self) -> None:
        """Raise `NoRuleError` if another view of the same memory was written into since."""
        if self._seen != self._memory.version:
            raise NoRuleError("it changes a tensor in place that is also used through another view")

    def overwrite(self, result: "Interval") -> None:
        """Replace the bounds by another interval's, as an in-place operation does."""
        if result.lower.shape != self.lower.shape:
            raise NoRuleError("it changes the shape of a tensor in place")
        self._memory.version += 1
        self._seen = self._memory.version
        for name in ("lower", "upper", "ball", "source", "noise", "node", "tape", "refused"):
            setattr(self, name, getattr(result, name))

    def copied(self) -> "Interval":
        """Return the same bounds, with the same node and tape, for a new pass that may overwrite them."""
        copy = Interval(self.lower, self.upper, ball=self.ball, source=self.source, noise=self.noise)
        copy.node, copy.tape = self.node, self.tape
        return copy

    @classmethod
    def __torch_function__(
        cls, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        del types
        if func in _FACTS:
            with torch._C.DisableTorchFunctionSubclass():
                return func(*args, **(kwargs or {}))
        options = kwargs or {}
        try:
            return _bounded(func, args, options)
        except BaseException as error:
            refusal = _in_users_terms(error, func, args, options)
            _note(refusal, args, options)
            try:
                if refusal is error:
                    raise
                raise refusal from error
            finally:
                del refusal  # else its traceback holds this frame, and the frame holds it

    @classmethod
    def __torch_dispatch__(  # type: ignore[override]
        cls, func: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        del types
        refusal = NoRuleError(f"{func} has no interval rule")
        _note(refusal, args, kwargs or {})
        try:
            raise refusal
        finally:
            del refusal


def _bounded(func: Any, args: tuple[Any, ...], options: dict[str, Any]) -> Any:
    """Return the bounds of a function's result."""
    plain = IN_PLACE.get(func, func)
    writes = plain is not func
    if "inplace" in options:
        options = dict(options)
        writes |= bool(options.pop("inplace"))
    rule = RULES.get(plain)
    if rule is None:
        raise NoRuleError(_without_rule(func))
    if options.get("out") is not None:
        raise NoRuleError(f"{func.__name__} writes bounds into a tensor of numbers")
    given = list(intervals(args, options))
    for interval in given:
        interval.check_current()
        if torch.is_autocast_enabled(interval.lower.device.type):
            raise NoRuleError("it computes in autocast; proofs hold for float32")
    tape = next((x.tape for x in given if x.tape is not None), None)
    if tape is not None:
        tape.before(plain, args, options)
    result = rule(plain, *args, **options)
    refused = given[0].refused
    for part in intervals(result):
        part.refused = refused
        # A view holds values that were looked at before.
        looked_at = plain in NO_LARGER or any(part._memory is x._memory for x in given)
        if not looked_at and not within_float32(part.lower, part.upper):
            raise NoRuleError(f"the values of {name_of(func)} may leave the range of float32")
    if tape is not None and depends(result):
        tape.after(plain, args, options, result)
    if not writes:
        return result
    if not isinstance(args[0], Interval):
        raise NoRuleError(f"{func.__name__} writes bounds into a tensor of numbers")
    args[0].overwrite(result)
    return args[0]


def _note(error: BaseException, args: Any, options: dict[str, Any]) -> None:
    """Note an error in the pass of each argument, as the network may catch it."""
    for interval in intervals(args, options):
        if error not in interval.refused:
            interval.refused.append(error)


def name_of(func: Any) -> str:
    """Return the name of a function of torch, or of an attribute that was read or set."""
    name = getattr(func, "__name__", None)
    if name in ("__get__", "__set__", "__delete__"):
        name = getattr(getattr(func, "__self__", None), "__name__", name)
    return name or type(func).__name__


def _without_rule(func: Any) -> str:
    if type(func).__name__ in ("ScriptMethod", "ScriptFunction"):
        return "TorchScript has no interval rule: give the module that it was made from"
    return f"{name_of(func)} has no interval rule"


def _in_users_terms(error: BaseException, func: Any, args: Any, options: Any) -> BaseException:
    """Return an error; if a rule does not know an argument of the function, one that names both."""
    rule = RULES.get(IN_PLACE.get(func, func))
    if rule is None or not isinstance(error, TypeError):
        return error
    known = inspect.signature(rule)
    options = {name: value for name, value in options.items() if name != "inplace"}
    try:
        known.bind(func, *args, **options)
    except TypeError:
        strange = [name for name in options if name not in known.parameters]
        what = "with these arguments"
        if strange:
            value = options[strange[0]]
            what = f"with the argument {strange[0]}" + ("" if depends(value) else f"={shown(value)}")
        return NoRuleError(f"{name_of(func)} has no interval rule {what}")
    return error


def intervals(*values: Any) -> Iterator[Interval]:
    """Yield the intervals among the values, those in lists, tuples and dictionaries included."""
    for value in values:
        if isinstance(value, Interval):
            yield value
        elif isinstance(value, list | tuple):
            yield from intervals(*value)
        elif isinstance(value, dict):
            yield from intervals(*value.values())


def depends(*values: Any) -> bool:
    """Return whether there is an interval among the values."""
    return next(intervals(*values), None) is not None
