"""Judges claims: comparisons such as ``clean - fgsm >= 0.1`` over measured figures.

The comparison uses interval arithmetic. It holds if it holds at the unfavourable ends of all 95 % intervals
in it. It is refuted if it fails at their favourable ends too.
"""

import ast
import operator
from collections.abc import Callable, Mapping

from robustlab.core.errors import RecipeError, did_you_mean, offer
from robustlab.core.spec import syntax
from robustlab.core.text import shown
from robustlab.runs.records import Figure
from robustlab.runs.results import Detection, JudgedComparison

Interval = tuple[float, float]


_LARGEST = 10
"""The largest number in a claim, since figures are shares: a larger one, such as 98, is refused."""

DETECTION_FIGURES: dict[str, Callable[[Detection], Figure | None]] = {
    "auroc": lambda d: d.auroc,
    "natural_detection": lambda d: d.natural.detection_rate if d.natural else None,
    "natural_false_positives": lambda d: d.natural.false_positive_rate if d.natural else None,
    "calibrated_detection": lambda d: d.calibrated.detection_rate,
    "calibrated_false_positives": lambda d: d.calibrated.false_positive_rate,
}
"""The figures of a detection that a claim may use, as in ``discriminator_fgsm.auroc``."""

_DETECTION_WORDS = {
    "auroc": "AUROC",
    "natural_detection": "detected at the natural threshold",
    "natural_false_positives": "false alarms at the natural threshold",
    "calibrated_detection": "detected at the 5 % threshold",
    "calibrated_false_positives": "false alarms at the 5 % threshold",
}

_COMPARISONS: dict[type[ast.cmpop], tuple[str, Callable[[float, float], bool]]] = {
    ast.Gt: (">", operator.gt),
    ast.GtE: ("≥", operator.ge),
    ast.Lt: ("<", operator.lt),
    ast.LtE: ("≤", operator.le),
}


def judge(comparison: str, figures: Mapping[str, Figure], titles: Mapping[str, str]) -> JudgedComparison:
    """Return a comparison as text, with its figures and its state.

    Args:
        comparison: sums and differences of names and numbers on both sides of one of ``> >= < <=``.
        figures: the measured figures by name.
        titles: of evaluations and detections, by id; default: the name.

    Raises:
        RecipeError: the text is not such a comparison, or names an unknown figure.
    """
    node = syntax(comparison)
    if not isinstance(node, ast.Compare) or len(node.ops) != 1 or type(node.ops[0]) not in _COMPARISONS:
        raise RecipeError(
            f"can't parse claim {shown(comparison)}; expected a comparison such as clean - fgsm >= 0.1"
        )
    sign, compare = _COMPARISONS[type(node.ops[0])]
    left, right = (_interval(side, figures, comparison) for side in (node.left, node.comparators[0]))
    if sign in {"<", "≤"}:
        left, right = left[::-1], right[::-1]
    unfavourable, favourable = compare(left[0], right[1]), compare(left[1], right[0])
    sides = (_spell(side, figures, titles) for side in (node.left, node.comparators[0]))
    return JudgedComparison(
        text=f" {sign} ".join(sides),
        state="holds" if unfavourable else "open" if favourable else "refuted",
    )


def _interval(node: ast.expr, figures: Mapping[str, Figure], comparison: str) -> Interval:
    if isinstance(node, ast.Constant) and type(node.value) in {int, float}:
        if not abs(node.value) <= _LARGEST:  # type: ignore[arg-type]
            raise RecipeError(
                f"claim {shown(comparison)}: figures are shares in [0, 1], such as 0.98 for 98 %; "
                f"found {shown(node.value)}"
            )
        return (float(node.value), float(node.value))  # type: ignore[arg-type]
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add | ast.Sub):
        (a, b), (c, d) = (_interval(side, figures, comparison) for side in (node.left, node.right))
        return (a + c, b + d) if isinstance(node.op, ast.Add) else (a - d, b - c)
    name = ast.unparse(node)
    if name not in figures:
        hint = did_you_mean(name, figures)
        raise RecipeError(f"claim {shown(comparison)}: unknown figure {shown(name)}{hint}; {offer(figures)}")
    return (figures[name].low, figures[name].high)


def _spell(node: ast.expr, figures: Mapping[str, Figure], titles: Mapping[str, str]) -> str:
    if isinstance(node, ast.Constant):
        return f"{100 * float(node.value):g} %"  # type: ignore[arg-type]
    if isinstance(node, ast.BinOp):
        sign = "+" if isinstance(node.op, ast.Add) else "−"
        return f"{_spell(node.left, figures, titles)} {sign} {_spell(node.right, figures, titles)}"
    name = ast.unparse(node)
    part, _, figure = name.partition(".")
    title = titles.get(part, part)
    value = figures[name].value
    if figure == "auroc":
        return f"“{title}”: {_DETECTION_WORDS[figure]} {value:.3f}"
    said = f": {_DETECTION_WORDS[figure]}" if figure else ""
    return f"“{title}”{said} {100 * value:.1f} %"
