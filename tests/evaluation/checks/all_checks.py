"""Runs the checks outside of an evaluation."""

from robustlab.evaluation.checks import PROBES, Context
from robustlab.runs.evaluation import Check


def run_checks(context: Context) -> list[Check]:
    """Return the outcome of every check."""
    return [probe.run(context) for probe in PROBES]
