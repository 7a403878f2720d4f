"""Named numbers in specs: ``linf(eps=0.25*scale)`` with ``scale = 0.5`` is ``linf(eps=0.125)``."""

import ast
import math
import operator
from collections.abc import Callable, Iterator, Mapping

from robustlab.core.errors import SpecError
from robustlab.core.spec import syntax, syntax_and_text
from robustlab.core.text import shown

_OPERATIONS: dict[type[ast.operator], Callable[[float, float], float]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
}


def names_in(text: str) -> set[str]:
    """Return the names that a spec, or several with commas between them, uses as values.

    Those are names of factors and of networks; names of units and of arguments are not included. For a text
    that is not a spec, such as a path, the result is empty.
    """
    node = syntax(text)
    return set() if node is None else {part.id for part in _values(node) if isinstance(part, ast.Name)}


def bound(text: str, factors: Mapping[str, float]) -> str:
    """Return a spec with the factors in it replaced by their values, and their sums and products computed.

    All else stays as it is written, such as a path.

    Raises:
        SpecError: something other than numbers is added to a factor, or multiplied by it; or the result is
            not finite.
    """
    node, plain = syntax_and_text(text)
    if node is None or not names_in(text) & factors.keys():
        return text
    lines = plain.encode().splitlines(keepends=True)
    for part, value in reversed(list(_Binding(factors, text).replaced(node))):
        first, last = part.lineno - 1, (part.end_lineno or part.lineno) - 1
        before, after = lines[first][: part.col_offset], lines[last][part.end_col_offset :]
        lines[first : last + 1] = [before + repr(value).encode() + after]
    return b"".join(lines).decode()


def _below(node: ast.AST) -> Iterator[ast.AST]:
    """Return the parts of a node, without the name of what is called."""
    return iter([*node.args, *node.keywords]) if isinstance(node, ast.Call) else ast.iter_child_nodes(node)


def _values(node: ast.AST) -> list[ast.AST]:
    """Return a node and all below it, without the names of what is called."""
    return [node, *(part for child in _below(node) for part in _values(child))]


class _Binding:
    def __init__(self, factors: Mapping[str, float], text: str) -> None:
        self._factors, self._text = factors, text

    def replaced(self, node: ast.AST) -> Iterator[tuple[ast.expr, float]]:
        """Yield the largest parts that are numbers with a factor in them, in order, with their values."""
        number = isinstance(node, ast.Name | ast.BinOp | ast.UnaryOp)
        # A number without a factor, such as 8/255, looks like the path runs/mnist.
        if number and any(isinstance(part, ast.Name) and part.id in self._factors for part in _values(node)):
            yield node, self._number(node)  # type: ignore[misc, arg-type]
            return
        for part in _below(node):
            yield from self.replaced(part)

    def _number(self, node: ast.expr) -> float:
        match node:
            case ast.Constant(value=int() | float() as value) if not isinstance(value, bool):
                return value
            case ast.Name(id=name) if name in self._factors:
                return self._factors[name]
            case ast.UnaryOp(op=ast.USub(), operand=operand):
                return -self._number(operand)
            case ast.BinOp(left=left, op=sign, right=right) if type(sign) in _OPERATIONS:
                try:
                    value = _OPERATIONS[type(sign)](self._number(left), self._number(right))
                except (ZeroDivisionError, OverflowError):
                    value = math.nan
                if math.isfinite(value):
                    return value
        raise SpecError(f"in {shown(self._text)}: {shown(ast.unparse(node))} is not a number")
