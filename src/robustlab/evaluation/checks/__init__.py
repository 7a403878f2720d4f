"""Checks: computed reasons to trust or to doubt a robust accuracy; docs/flags.md explains each one."""

from robustlab.evaluation.checks.attack_runner import AttackRunner, NotApplicable
from robustlab.evaluation.checks.base import ActiveCheck, Check, CheckResult, PassiveCheck, graded
from robustlab.evaluation.checks.context import AttackedRow, Context, EvaluationSummary, Sample
from robustlab.evaluation.checks.listing import BUILT_IN, Which, all_checks, checks_of
from robustlab.evaluation.checks.survivors import SurvivorCheck

__all__ = [
    "BUILT_IN",
    "ActiveCheck",
    "AttackRunner",
    "AttackedRow",
    "Check",
    "CheckResult",
    "Context",
    "EvaluationSummary",
    "NotApplicable",
    "PassiveCheck",
    "Sample",
    "SurvivorCheck",
    "Which",
    "all_checks",
    "checks_of",
    "graded",
]
