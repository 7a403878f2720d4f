"""Robust accuracy against eps, from each image's nearest success."""

from dataclasses import dataclass, fields, replace

import torch
from torch import Tensor

from robustlab.attacks import APGD, FMN, Attack, AttackResult
from robustlab.core.evaluation import RobustCurve
from robustlab.core.spec import make
from robustlab.core.threat import ThreatModel, per_image
from robustlab.data import Split
from robustlab.evaluation.engine.cascade import Cascade, Findings
from robustlab.evaluation.engine.problem import Problem
from robustlab.evaluation.engine.stages import Certify, Searching, succeeded
from robustlab.evaluation.ensembles import suited
from robustlab.evaluation.metrics import proportion

_STEPS, _AT_EPS = 32, 24
"""Points of the curve beyond the first, and the one at the threat model's own eps."""

_ROUNDS = 6
"""Bisections; they place a success to 1/64 of the curve's length."""


@dataclass(frozen=True, kw_only=True)
class Nearest(Searching):
    """Looks for each image's nearest success.

    A search for the nearest success comes first. It stays far from it on some robust classifiers: of the
    TRADES network for MNIST it left 96 % of 100 images at eps 0.4, and an attack at that eps none (LOG.md).
    So an attack at a given eps then bisects between the clean image and the success, or the curve's end.
    """

    first: Attack
    probe: Attack | None
    threat: ThreatModel

    @property
    def name(self) -> str:
        then = "" if self.probe is None else f", then {self.probe!r} at {_ROUNDS} radii"
        return f"{self.first!r}{then}, within {self.threat!r}"

    @property
    def title(self) -> str:
        return "the nearest success"

    def search(self, problem: Problem, block: Split) -> AttackResult:
        best = problem.attack(self.first, block, self.threat, mode="max-loss")
        if self.probe is None:
            return best
        none_at = torch.zeros_like(best.distances)
        for bisection in range(_ROUNDS + 1):
            # Only the images without a success are asked about at the whole length, and only once.
            chosen = best.successes if bisection else ~best.successes
            radii = (none_at + best.distances) / 2 if bisection else torch.full_like(none_at, self.threat.eps)
            places = chosen.nonzero().squeeze(1)
            if len(places) == 0:
                continue
            found = problem.attack(
                self.probe, block.take(places), self.threat, mode="verdict", eps=radii[places]
            )
            none_at[places] = torch.where(found.successes, none_at[places], radii[places])
            best = _nearer(best, found, places)
        return best


def _nearer(best: AttackResult, found: AttackResult, places: Tensor) -> AttackResult:
    """Return the nearer successes of the two, with the passes of both."""
    had = torch.where(best.successes[places], best.distances[places], torch.inf)
    better = found.successes & (found.distances < had)
    merged = {}
    for field in fields(AttackResult):
        old, new = getattr(best, field.name), getattr(found, field.name)
        if field.name in {"forwards", "backwards"}:
            merged[field.name] = old.index_add(0, places, new)
        else:
            chosen = torch.where(per_image(better, new), new, old[places])
            merged[field.name] = old.index_copy(0, places, chosen)
    return replace(best, **merged)


def nearest_within(threat: ThreatModel) -> Nearest:
    """Return the stage that looks for each image's nearest success, as far as the curve reaches."""
    wider = _at(threat, points(threat)[-1])
    probe = APGD(steps=25)
    return Nearest(first=FMN(steps=100), probe=probe if suited(probe, threat) else None, threat=wider)


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
    stage: Nearest,
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
        attack=stage.name,
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
