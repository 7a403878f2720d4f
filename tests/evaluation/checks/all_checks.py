"""Runs the checks outside of an evaluation."""

from robustlab.evaluation.checks import Context, all_checks
from robustlab.runs.evaluation import CheckRecord


def run_checks(context: Context) -> list[CheckRecord]:
    """Return the outcome of every check."""
    return [unit.run(context) for unit in all_checks()]
