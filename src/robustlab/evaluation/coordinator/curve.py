"""Robust accuracy against eps, from searches for each image's nearest success."""

from dataclasses import replace

from robustlab.attacks import FMN, Attack, HopSkipJump, RayS, SigmaZero, SteepestMinNorm
from robustlab.attacks.criteria import MISCLASSIFIED, Criterion
from robustlab.core.errors import SpecError
from robustlab.evaluation.coordinator.cascade import Cascade, CascadeResult
from robustlab.evaluation.jobs.context import EvaluationContext
from robustlab.evaluation.jobs.stages import AttackStage, Certify, succeeded
from robustlab.evaluation.metrics import proportion
from robustlab.runs.evaluation import RobustCurve
from robustlab.threats import ThreatModel

_STEPS, _AT_EPS = 32, 24
"""The number of points after the first, and the index of the point at the threat model's own eps."""


def check_curve(threat: ThreatModel) -> None:
    """Check that a curve exists.

    Raises:
        SpecError: the threat model has no eps.
    """
    if not threat.bounded:
        raise SpecError(f"a curve against eps needs a threat model that bounds a distance; found {threat!r}")


def nearest_within(
    threat: ThreatModel, criteria: tuple[Criterion, ...] = (MISCLASSIFIED,)
) -> tuple[AttackStage, ...]:
    """Return the stages that look for each image's nearest success, up to the curve's largest eps.

    Together they cost less than twice as much as a PGD of 100 steps. For some norms two searches complement
    each other. FMN does not come near the success on some robust classifiers, and `SteepestMinNorm` is less
    exact if several classes are near (LOG.md, "The nearest success of each image").
    """
    attacks: tuple[Attack, ...] = (SteepestMinNorm(steps=50), FMN(steps=140))
    if threat.discrete:
        attacks = (SigmaZero(steps=190),)
    elif threat.separable:
        attacks = (SteepestMinNorm(steps=100), FMN(steps=75))
    wider = threat.at(points(threat)[-1])
    return tuple(
        AttackStage(attack=attack, threat=wider, criterion=criterion, min_norm=True)
        for criterion in criteria
        for attack in attacks
        if attack.supports(threat)
    )


def nearest_of(context: EvaluationContext) -> tuple[AttackStage, ...]:
    """Return the searches of `nearest_within`, or for a black box those without gradients.

    Raises:
        SpecError: no search without gradients supports the threat model.
    """
    if not context.black_box:
        return nearest_within(context.threat, context.criteria)
    wider, searches = context.threat.at(points(context.threat)[-1]), (RayS(), HopSkipJump())
    attack: Attack | None = next((search for search in searches if search.supports(context.threat)), None)
    if attack is None:
        raise SpecError(f"a curve of a black box needs l2 or linf; found {context.threat!r}")
    return tuple(
        AttackStage(attack=attack, threat=wider, criterion=criterion, min_norm=True)
        for criterion in context.criteria
    )


def points(threat: ThreatModel) -> list[float]:
    """Return the eps of the curve, from 0 to 4/3 of the threat model's, including that one."""
    grid = [float(f"{threat.eps * step / _AT_EPS:.6g}") for step in range(_STEPS + 1)]
    grid[_AT_EPS] = threat.eps
    if threat.discrete:
        return sorted({int(eps) for eps in grid})
    return [eps for eps in grid if eps <= threat.largest_eps]


def _certified(cascade: Cascade, findings: CascadeResult, certify: Certify) -> list[int]:
    """Return how many images are proven at each eps of the curve."""
    left, counts = findings.correct, []
    for eps in points(certify.threat):
        stage = replace(certify, threat=certify.threat.at(eps), reported=False)
        # What is proven at a larger eps holds here. What is not proven here is not asked at a larger one.
        known = set(findings.certified_wide)
        known |= (findings.certified or set()) if eps <= certify.threat.eps else set()
        known |= set(cascade.prove(stage, [number for number in left if number not in known], findings))
        left = [number for number in left if number in known]
        counts.append(len(left))
    return counts


def robust_curve(cascade: Cascade, findings: CascadeResult) -> RobustCurve:
    """Return the share of images that no attack broke within each eps, and the share that is proven."""
    context, n = cascade.context, len(findings.clean)
    certify = cascade.certify if cascade.certify and cascade.certify.proves else None
    rows = [row for finding in findings.attacks for row in finding.confirmed.values()]
    searched = [finding for finding in findings.attacks if finding.stage in cascade.nearest]
    passes = [row for finding in searched for row in finding.outcomes.values()]
    left = [
        len(findings.correct) - len({row.image_id for row in rows if succeeded(row, eps)})
        for eps in points(context.threat)
    ]
    certified = (
        None if certify is None else [proportion(c, n) for c in _certified(cascade, findings, certify)]
    )
    return RobustCurve(
        attack=", ".join(dict.fromkeys(repr(stage.attack) for stage in cascade.nearest)),
        eps=points(context.threat),
        robust=[proportion(count, n) for count in left],
        certified=certified,
        forwards=sum(row.forwards for row in passes),
        backwards=sum(row.backwards for row in passes),
        seconds=sum(cascade.seconds(finding.stage, finding.outcomes) for finding in searched),
    )
