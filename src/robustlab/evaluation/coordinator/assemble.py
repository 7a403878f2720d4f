"""Combines all results into an `Evaluation`."""

from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime

import numpy as np
import torch

from robustlab.certify import noisy_part
from robustlab.core import device, environment
from robustlab.core.calling import calling
from robustlab.core.own_dtype import dtype_of, short_name
from robustlab.core.threads import shares
from robustlab.data import FeatureRanges
from robustlab.evaluation.coordinator.cascade import AttackFindings, Cascade, CascadeResult, Outcomes
from robustlab.evaluation.coordinator.goals import goal_of, remarks_on
from robustlab.evaluation.coordinator.kept import threads_of
from robustlab.evaluation.coordinator.setup import LoadedInputs
from robustlab.evaluation.jobs.context import EvaluationContext
from robustlab.evaluation.jobs.stages import Clean, EvaluationStage, Verify, succeeded
from robustlab.evaluation.metrics import proportion
from robustlab.runs.evaluation import (
    AttackRow,
    BrokenImage,
    Certificates,
    CheckRecord,
    Evaluation,
    Flip,
    Histogram,
    Reached,
    RobustCurve,
)
from robustlab.runs.images_csv import ImageVerdict
from robustlab.runs.ledger import Outcome
from robustlab.runs.records import ComputeRecord, Figure
from robustlab.runs.subject import Images, Ranges, Subject

_BINS = 20

_MOST_VALUES = 10_000
"""Of a row whose ranges are in the results."""


def assemble(
    cascade: Cascade,
    findings: CascadeResult,
    found: list[ImageVerdict],
    *,
    request: LoadedInputs,
    command: str,
    remarks: list[str],
    checks: list[CheckRecord],
    seconds_of_checks: float,
    curve: RobustCurve | None,
    pictures: tuple[list[BrokenImage], str | None],
) -> Evaluation:
    """Return all results of the evaluation; ``remarks`` are those on its figures."""
    context, n = cascade.context, len(found)
    with calling("the model", " when its weights were counted"):
        parameters = sum(parameter.numel() for parameter in context.model.parameters())
    measured = [outcomes for _, outcomes in findings.proofs.values()]
    for finding in findings.attacks:
        measured += [finding.outcomes, finding.confirmed]
    spent: list[Outcome | CheckRecord] = [row for rows in measured for row in rows.values()]
    spent += checks
    _, channels, height, width = context.images.images.shape
    said = replace(request, subject=context.subject).remarks
    return Evaluation(
        title=request.title,
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        seed=context.seed,
        command=command,
        mode=context.mode,
        samples=context.eot_samples,
        subject=Subject(
            name=context.subject.name,
            source=context.subject.source,
            parameters=parameters,
            sha256=context.subject.sha256(),
            dtype=short_name(dtype_of(context.model)),
            preprocessing=str(context.subject.preprocessing or ""),
            preprocessing_from=context.subject.preprocessing.origin if context.subject.preprocessing else "",
            black_box=context.black_box,
        ),
        images=Images(
            name=request.chosen.name,
            split=context.images.name,
            n=n,
            classes=context.classes,
            class_names=list(request.class_names(context.classes)),
            shape=(channels, height, width),
            rows=_ranges(context.images.features),
            sha256=context.images.sha256(),
            split_sha256=context.data,
        ),
        threat=repr(context.threat),
        norm=context.threat.inner.name,
        bounded=context.threat.bounded,
        attacker=context.threat.words(None if context.images.features else channels),
        eps=context.threat.eps,
        attacks=", ".join(map(repr, request.asked)),
        remarks=[*said, *remarks_on(context.criteria, context.images), *remarks],
        eight_bit=context.eight_bit,
        clean=proportion(len(findings.correct), n),
        robust=proportion(sum(verdict.robust for verdict in found), n),
        certified=None if findings.certified is None else proportion(len(findings.certified), n),
        certificates=_certificates(cascade, findings),
        rows=_rows(cascade, findings),
        not_finite=_not_finite(findings, context.threat.eps),
        unconfirmed=sorted(findings.unconfirmed),
        curve=curve,
        checks=checks,
        broken=pictures[0],
        pictures=pictures[1],
        flips=_flips(found),
        goal=goal_of(context.criteria, request.class_names(context.classes)),
        targets=_targets(cascade, findings),
        distances=_distances(context, found),
        compute=ComputeRecord(
            device=context.device,
            device_name=device.hardware(context.device.partition(":")[0]),
            threads=torch.get_num_threads(),
            threads_used=shares(threads_of(context, cascade.store)),
            training_precision="bf16" if context.bf16 else short_name(dtype_of(context.model)),
            instruction_set=device.instruction_set(),
            caps=device.caps(),
            batch_size=int(context.batch_size),
            pass_time=context.pass_time,
            versions=environment.versions(),
        ),
        forwards=n * context.eot_samples + sum(row.forwards for row in spent) + _other_queries(cascade),
        backwards=sum(row.backwards for row in spent),
        seconds=_seconds(cascade, findings) + seconds_of_checks,
        peak_memory_mb=round(environment.peak_memory_mb(), 1),
    )


def _other_queries(cascade: Cascade) -> int:
    """Return how many images a black box was asked before its clean images, and again after failures."""
    records = (cascade.store.stage(f"{cascade.context.key}/{name}") for name in ("answers", "repeats"))
    return sum(int(record.payload.get("queries", 0)) for record in records if record is not None)


def _seconds(cascade: Cascade, findings: CascadeResult) -> float:
    """Return the seconds of the whole evaluation, without the checks."""
    timed: list[tuple[EvaluationStage, Outcomes]] = [(Clean(), findings.clean), *findings.proofs.values()]
    for finding in findings.attacks:
        verify = Verify(searching=finding.stage)
        timed += [(finding.stage, finding.outcomes), (verify, finding.confirmed)]
    return sum(cascade.seconds(stage, outcomes) for stage, outcomes in timed)


def _certificates(cascade: Cascade, findings: CascadeResult) -> Certificates | None:
    if cascade.certify is None:
        return None
    stage, outcomes = findings.proofs[cascade.certify.name]
    certified = (findings.certified or set()) if stage.proves else findings.probable
    return Certificates(
        certifier=repr(stage.certifier),
        images=len(outcomes.keys() | certified),  # with those that are proven within a larger eps
        certified=proportion(len(certified), len(findings.clean)),
        confidence=stage.certifier.confidence,
        sigma=0.0 if stage.proves else noisy_part(cascade.context.model)[1],
        forwards=sum(row.forwards for row in outcomes.values()),
        backwards=sum(row.backwards for row in outcomes.values()),
        seconds=cascade.seconds(stage, outcomes),
    )


def _rows(cascade: Cascade, findings: CascadeResult) -> list[AttackRow]:
    rows, left = [], len(findings.correct)
    for finding in findings.attacks:
        left -= len(finding.won)
        outcomes = finding.outcomes.values()
        rows.append(
            AttackRow(
                attack=finding.stage.name,
                attacked=len(outcomes),
                broken=len(finding.won),
                robust=proportion(left, len(findings.clean)),
                accuracy=_accuracy(cascade, findings, finding),
                forwards=sum(row.forwards for row in outcomes),
                backwards=sum(row.backwards for row in outcomes),
                seconds=cascade.seconds(finding.stage, finding.outcomes),
            )
        )
    return rows


def _accuracy(cascade: Cascade, findings: CascadeResult, finding: AttackFindings) -> Figure | None:
    """Return the accuracy on the images after an attack perturbed all of them."""
    if cascade.context.mode != "test-set" or finding.stage not in cascade.stages:
        return None
    rows = finding.perturbed.values()
    return proportion(sum(row.correct for row in rows), len(findings.clean))


def _not_finite(findings: CascadeResult, eps: float) -> list[int]:
    at = {number for number, row in findings.clean.items() if row.prediction < 0}
    return sorted(at | findings.no_answer_near(eps))


def _targets(cascade: Cascade, findings: CascadeResult) -> list[Reached]:
    """Return how often each class was reached from each other one, if all of them were targets."""
    context = cascade.context
    if len(context.criteria) < 2:
        return []
    labels = {number: findings.clean[number].label for number in findings.correct}
    tried, counts = Counter(labels.values()), []
    for offset, criterion in enumerate(context.criteria, start=1):
        won = {
            number
            for finding in findings.attacks
            if finding.stage.criterion == criterion
            for number, row in finding.confirmed.items()
            if number in labels and succeeded(row, context.threat.eps)
        }
        reached = Counter(labels[number] for number in won)
        for label, n in sorted(tried.items()):
            target = (label + offset) % context.classes
            counts.append(Reached(label=label, target=target, tried=n, reached=reached[label]))
    return sorted(counts, key=lambda count: (count.label, count.target))


def _ranges(features: FeatureRanges | None) -> Ranges | None:
    if features is None or features.low.numel() > _MOST_VALUES:
        return None
    return Ranges(
        signal=len(features.shape) == 2,
        names=list(features.names[:_MOST_VALUES]),
        low=features.low.flatten().tolist(),
        high=features.high.flatten().tolist(),
    )


def _flips(found: list[ImageVerdict]) -> list[Flip]:
    counted = Counter((v.label, v.prediction) for v in found if v.state == "broken")
    return [Flip(label=label, prediction=to, n=n) for (label, to), n in sorted(counted.items())]


def _distances(context: EvaluationContext, found: list[ImageVerdict]) -> Histogram | None:
    values = [verdict.distance for verdict in found if verdict.state == "broken"]
    if not values or not context.threat.bounded:
        return None
    counts, edges = np.histogram(values, bins=_BINS, range=(0.0, max(context.threat.eps, *values)))
    return Histogram(edges=edges.tolist(), counts=counts.tolist())
