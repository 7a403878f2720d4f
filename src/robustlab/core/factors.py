"""Named numbers in specs: ``linf(eps=0.25*scale)`` with ``scale = 0.5`` is ``linf(eps=0.125)``."""

import ast
import math
import operator
from collections.abc import Callable, Mapping

from robustlab.core.errors import SpecError
from robustlab.core.spec import syntax
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

    Raises:
        SpecError: something other than numbers is added to a factor, or multiplied by it; or the result is
            not finite.
    """
    node = syntax(text)
    if node is None or not names_in(text) & factors.keys():
        return text
    node = _Binding(factors, text).visit(node)
    parts = node.elts if isinstance(node, ast.Tuple) else [node]
    return ", ".join(ast.unparse(part) for part in parts)


def _values(node: ast.AST) -> list[ast.AST]:
    """Return a node and all below it, without the names of what is called."""
    below = ast.iter_child_nodes(node)
    if isinstance(node, ast.Call):
        below = iter([*node.args, *node.keywords])
    return [node, *(part for child in below for part in _values(child))]


class _Binding(ast.NodeTransformer):
    def __init__(self, factors: Mapping[str, float], text: str) -> None:
        self._factors, self._text = factors, text

    def visit_Call(self, node: ast.Call) -> ast.AST:
        node.args = [self.visit(argument) for argument in node.args]
        node.keywords = [self.visit(argument) for argument in node.keywords]
        return node

    def visit_Name(self, node: ast.Name) -> ast.AST:
        return ast.Constant(self._factors[node.id]) if node.id in self._factors else node

    def visit_BinOp(self, node: ast.BinOp) -> ast.AST:
        if not any(isinstance(part, ast.Name) and part.id in self._factors for part in _values(node)):
            return node  # such as 8/255, or the path runs/mnist
        return _constant(self._number(node))

    def visit_UnaryOp(self, node: ast.UnaryOp) -> ast.AST:
        return self.visit_BinOp(node)  # type: ignore[arg-type]

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


def _constant(value: float) -> ast.expr:
    return ast.Constant(value) if value >= 0 else ast.UnaryOp(op=ast.USub(), operand=ast.Constant(-value))
