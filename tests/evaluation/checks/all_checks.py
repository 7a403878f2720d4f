"""Runs the checks outside of an evaluation."""

from robustlab.core.evaluation import Check
from robustlab.evaluation.checks import PROBES, Context


def run_checks(context: Context) -> list[Check]:
    """Return the outcome of every check."""
    return [probe.run(context) for probe in PROBES]
