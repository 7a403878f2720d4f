"""Robust accuracy against eps, from one search for the nearest success of every image."""

from robustlab.attacks import Attack
from robustlab.core.evaluation import RobustCurve
from robustlab.core.spec import make, parse
from robustlab.core.threat import ThreatModel
from robustlab.evaluation.engine.cascade import Findings
from robustlab.evaluation.engine.stages import Attacking, succeeded
from robustlab.evaluation.metrics import proportion

NEAREST = "fmn(steps=100)"
"""The search for the nearest success."""

_STEPS, _AT_EPS = 32, 24
"""Points of the curve beyond the first, and the one at the threat model's own eps."""


def nearest(threat: ThreatModel, spec: str = NEAREST) -> Attacking:
    """Return the stage that searches for each image's nearest success, as far as the curve reaches."""
    wider = make(type(threat), vars(threat) | {"eps": points(threat)[-1]})
    return Attacking(attack=parse(Attack, spec), threat=wider, mode="max-loss", remark=f" within {wider!r}")


def points(threat: ThreatModel) -> list[float]:
    """Return the eps of the curve, from 0 to 4/3 of the threat model's, which is one of them."""
    found = [threat.eps * step / _AT_EPS for step in range(_STEPS + 1)]
    if threat.name == "l0":
        return sorted({int(eps) for eps in found})
    return [eps for eps in found if threat.name != "linf" or eps <= 1.0]


def curve(findings: Findings, stage: Attacking, seconds: float, threat: ThreatModel) -> RobustCurve:
    """Return the share of images that no attack broke within each eps."""
    found = [row for finding in findings.attacks for row in finding.confirmed.values()]
    searched = next(finding for finding in findings.attacks if finding.stage is stage)
    n, right = len(findings.clean), len(findings.right)
    return RobustCurve(
        attack=repr(stage.attack),
        eps=points(threat),
        robust=[
            proportion(right - len({row.image_id for row in found if succeeded(row, eps)}), n)
            for eps in points(threat)
        ],
        certified=None,
        forwards=sum(row.forwards for row in searched.outcomes.values()),
        backwards=sum(row.backwards for row in searched.outcomes.values()),
        seconds=seconds,
    )
