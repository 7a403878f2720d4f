"""The corruptions of an evaluation as a table: one row for each, one column for each severity."""

import ast
from typing import NamedTuple

from robustlab.core.spec import syntax
from robustlab.report.text import count, percent, share
from robustlab.runs.evaluation import AttackRow, Evaluation

_DEFAULT = "default"
"""The severity of a corruption that is used without one."""


class Corruptions(NamedTuple):
    """The table.

    Attributes:
        severities: the columns, as text.
        rows: each corruption with one cell for each severity; an empty cell was not asked for.
        accuracies: whether the cells are accuracies; if not, they count images.
    """

    severities: list[str]
    rows: list[tuple[str, list[str]]]
    accuracies: bool


def corruptions(results: Evaluation) -> Corruptions | None:
    """Return the table of the attacks that have a severity; None if there are none."""
    found: dict[str, dict[str, AttackRow]] = {}
    for row in results.rows:
        if named := _named(row.attack):
            found.setdefault(named[0], {})[named[1]] = row
    if not found:
        return None
    severities = sorted({severity for cells in found.values() for severity in cells})
    every = [row for cells in found.values() for row in cells.values()]
    accuracies = all(row.accuracy is not None for row in every)
    rows = [
        (effect, [_cell(cells.get(severity), accuracies) for severity in severities])
        for effect, cells in found.items()
    ]
    if accuracies and len(rows) > 1:
        rows.append(("mean", [_mean(found, severity) for severity in severities]))
    return Corruptions(severities, rows, accuracies)


def _named(attack: str) -> tuple[str, str] | None:
    """Return the effect and the severity in a spec; None if it has no severity."""
    node = syntax(attack)
    if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Name):
        return None
    given = {keyword.arg: keyword.value for keyword in node.keywords}
    if "severity" not in given:
        return None
    severity, effect = given["severity"], given.get("effect", node.func)
    level = str(severity.value) if isinstance(severity, ast.Constant) and severity.value else _DEFAULT
    return (effect.id if isinstance(effect, ast.Name) else ast.unparse(effect)).replace("_", " "), level


def _cell(row: AttackRow | None, accuracies: bool) -> str:
    if row is None:
        return ""
    if accuracies and row.accuracy is not None:
        return share(row.accuracy)
    return f"{count(row.broken)} of {count(row.attacked)}"


def _mean(found: dict[str, dict[str, AttackRow]], severity: str) -> str:
    figures = [cells[severity].accuracy for cells in found.values() if severity in cells]
    values = [figure.value for figure in figures if figure is not None]
    return percent(sum(values) / len(values))
