"""All checks, and the order in which they run."""

from typing import Literal

from robustlab.core.errors import SpecError, did_you_mean, offer
from robustlab.core.spec import units
from robustlab.core.text import shown
from robustlab.evaluation.checks.base import Check
from robustlab.evaluation.checks.decisions import Decisions
from robustlab.evaluation.checks.eps_monotonicity import Extremes, Monotone
from robustlab.evaluation.checks.forward_pass import FixedState, ForwardPass
from robustlab.evaluation.checks.gradient_free import BlindGain, Corners, GradientFree, Interior
from robustlab.evaluation.checks.gradients import ShatteredGradients, ZeroGradients
from robustlab.evaluation.checks.more_effort import MoreRestarts, MoreSteps, Targets
from robustlab.evaluation.checks.more_samples import MoreSamples
from robustlab.evaluation.checks.no_effect import AboveClean, ZeroDistance
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

Which = Literal["all", "cheap"] | tuple[str, ...]
"""All checks, those that cost little (`Check.cheap`), or those of these names or ids."""

BUILT_IN: tuple[type[Check], ...] = (
    NoGradient,
    CleanAccuracy,
    UsualPreprocessing,
    SampleSize,
    StoredImages,
    TrainMode,
    Finite,
    Softmax,
    LogitScale,
    Randomness,
    BatchDependence,
    ForwardPass,
    FixedState,
    ZeroGradients,
    ZeroDistance,
    AboveClean,
    ShatteredGradients,
    OneStep,
    Monotone,
    Extremes,
    MoreSteps,
    MoreRestarts,
    MoreSamples,
    Targets,
    BlindGain,
    GradientFree,
    Interior,
    Corners,
    Decisions,
    Transfer,
    RandomMoves,
    Undefended,
    Proofs,
)
"""robustlab's own checks, in the order in which they run and are reported."""


def all_checks() -> tuple[Check, ...]:
    """Return every registered check: robustlab's own in their order, then those of other packages by name.

    Raises:
        SpecError: a check of another package needs arguments, or lacks its texts.
    """
    known = units(Check)
    own = [kind for kind in BUILT_IN if known.get(kind.name) is kind]
    others = [kind for kind in known.values() if kind not in BUILT_IN]
    for kind in others:
        missing = [word for word in ("title", "expected", "meaning") if not getattr(kind, word, "")]
        if missing:
            raise SpecError(f"the check {kind.name} has no {' and no '.join(missing)}")
    return tuple(kind() for kind in (*own, *others))


def checks_of(which: Which) -> tuple[Check, ...]:
    """Return the requested checks, in the order of `all_checks`.

    Raises:
        SpecError: a name is not that of a check.
    """
    checks = all_checks()
    if which == "all":
        return checks
    if which == "cheap":
        return tuple(check for check in checks if check.cheap)
    known, wanted = [check.id for check in checks], {name.replace("_", "-") for name in which}
    for name in sorted(wanted.difference(known)):
        raise SpecError(f"unknown check {shown(name)}{did_you_mean(name, known)}; {offer(known, 'checks')}")
    return tuple(check for check in checks if check.id in wanted)
