"""Checks: computed reasons to believe or to doubt a robust accuracy; docs/flags.md explains each one."""

from robustlab.evaluation.checks.attack_runner import AttackRunner
from robustlab.evaluation.checks.base import ActiveCheck, CheckResult, PassiveCheck, Probe
from robustlab.evaluation.checks.context import AttackedRow, Context, EvaluationSummary, NotApplicable, Sample
from robustlab.evaluation.checks.decisions import Decisions
from robustlab.evaluation.checks.eps_monotonicity import Extremes, Monotone
from robustlab.evaluation.checks.forward_pass import FixedState, ForwardPass
from robustlab.evaluation.checks.gradient_free import BlindGain, Corners, GradientFree, Interior
from robustlab.evaluation.checks.gradients import ShatteredGradients, ZeroGradients
from robustlab.evaluation.checks.more_effort import MoreRestarts, MoreSteps, Targets
from robustlab.evaluation.checks.more_samples import MoreSamples
from robustlab.evaluation.checks.no_gradient import NoGradient
from robustlab.evaluation.checks.one_step import OneStep
from robustlab.evaluation.checks.outputs import Finite, LogitScale, Softmax
from robustlab.evaluation.checks.preprocessing import UsualPreprocessing
from robustlab.evaluation.checks.proofs import Proofs
from robustlab.evaluation.checks.random_moves import RandomMoves
from robustlab.evaluation.checks.randomness import BatchDependence, Randomness
from robustlab.evaluation.checks.sanity import CleanAccuracy, SampleSize, StoredImages, TrainMode
from robustlab.evaluation.checks.transfer import Transfer
from robustlab.evaluation.checks.undefended import Undefended

__all__ = [
    "NO_GRADIENT",
    "PROBES",
    "ActiveCheck",
    "AttackRunner",
    "AttackedRow",
    "CheckResult",
    "Context",
    "EvaluationSummary",
    "NotApplicable",
    "PassiveCheck",
    "Probe",
    "Sample",
]

NO_GRADIENT = NoGradient()
"""The one that runs before the attacks, and without the others."""

PROBES: tuple[Probe, ...] = (
    NO_GRADIENT,
    CleanAccuracy(),
    UsualPreprocessing(),
    SampleSize(),
    StoredImages(),
    TrainMode(),
    Finite(),
    Softmax(),
    LogitScale(),
    Randomness(),
    BatchDependence(),
    ForwardPass(),
    FixedState(),
    ZeroGradients(),
    ShatteredGradients(),
    OneStep(),
    Monotone(),
    Extremes(),
    MoreSteps(),
    MoreRestarts(),
    MoreSamples(),
    Targets(),
    BlindGain(),
    GradientFree(),
    Interior(),
    Corners(),
    Decisions(),
    Transfer(),
    RandomMoves(),
    Undefended(),
    Proofs(),
)
"""All checks, in the order in which they run."""
