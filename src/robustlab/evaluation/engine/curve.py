"""Robust accuracy against eps, from one search for each image's nearest success."""

from dataclasses import dataclass, replace

from robustlab.attacks import FMN, Attack, AttackResult, Nearest
from robustlab.core.evaluation import RobustCurve
from robustlab.core.spec import make
from robustlab.core.threat import ThreatModel
from robustlab.data import Split
from robustlab.evaluation.engine.cascade import Cascade, Findings
from robustlab.evaluation.engine.problem import Problem
from robustlab.evaluation.engine.stages import Certify, Searching, succeeded
from robustlab.evaluation.ensembles import suited
from robustlab.evaluation.metrics import proportion

_STEPS, _AT_EPS = 32, 24
"""Points of the curve beyond the first, and the one at the threat model's own eps."""


@dataclass(frozen=True, kw_only=True)
class NearestSuccess(Searching):
    """Looks for each image's nearest success, with an attack that is made for that."""

    attack: Attack
    threat: ThreatModel

    @property
    def name(self) -> str:
        return f"{self.attack!r} within {self.threat!r}"

    @property
    def title(self) -> str:
        return "the nearest success"

    def search(self, problem: Problem, block: Split) -> AttackResult:
        return problem.attack(self.attack, block, self.threat, mode="max-loss")


def nearest_within(threat: ThreatModel) -> NearestSuccess:
    """Return the stage that looks for each image's nearest success, as far as the curve reaches."""
    attack = next(attack for attack in (Nearest(), FMN()) if suited(attack, threat))
    return NearestSuccess(attack=attack, threat=_at(threat, points(threat)[-1]))


def _at(threat: ThreatModel, eps: float) -> ThreatModel:
    return make(type(threat), vars(threat) | {"eps": eps})


def points(threat: ThreatModel) -> list[float]:
    """Return the eps of the curve, from 0 to 4/3 of the threat model's, which is one of them."""
    found = [float(f"{threat.eps * step / _AT_EPS:.6g}") for step in range(_STEPS + 1)]
    found[_AT_EPS] = threat.eps
    if threat.name == "l0":
        return sorted({int(eps) for eps in found})
    return [eps for eps in found if threat.name != "linf" or eps <= 1.0]


def proven(cascade: Cascade, findings: Findings, certify: Certify) -> list[int]:
    """Return how many images are proven at each eps of the curve."""
    left, counts = findings.right, []
    for eps in points(certify.threat):
        stage = replace(certify, threat=_at(certify.threat, eps), told=False)
        # What is not proven at one eps is not at a larger one.
        left = [number for number, row in cascade.fill(stage, left).items() if row.restart >= 0]
        counts.append(len(left))
    return counts


def robust_curve(
    findings: Findings,
    stage: NearestSuccess,
    threat: ThreatModel,
    *,
    proven: list[int] | None,
    seconds: float,
) -> RobustCurve:
    """Return the share of images that no attack broke within each eps, and the share that is proven."""
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
        certified=None if proven is None else [proportion(count, n) for count in proven],
        forwards=sum(row.forwards for row in searched.outcomes.values()),
        backwards=sum(row.backwards for row in searched.outcomes.values()),
        seconds=seconds,
    )
