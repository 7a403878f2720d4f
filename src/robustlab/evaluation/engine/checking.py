"""Runs the checks on what the cascade found; each one's outcome is a stage of the ledger."""

import time

import torch
from torch import Tensor

from robustlab.core.evaluation import Check
from robustlab.core.store import StageRecord, digest
from robustlab.evaluation.checks import PROBES, Context, Found, Row
from robustlab.evaluation.checks.base import CRASHED
from robustlab.evaluation.engine import eight_bit
from robustlab.evaluation.engine.cascade import Cascade, Findings
from robustlab.evaluation.engine.stages import stored_images

STAGE = "checks"


def checked(cascade: Cascade, findings: Findings) -> tuple[list[Check], float]:
    """Return the outcome of every check, and the seconds that all of them took.

    What an earlier run computed from the same findings is not computed again.
    """
    store, progress, context = cascade.store, cascade.progress, _context(cascade, findings)
    prefix, state = cascade.problem.key, _digest(cascade, context.found)
    keys = {probe.id: f"{prefix}/check {probe.id} {state}" for probe in PROBES}
    records = {name: store.stage(key) for name, key in keys.items()}
    if all(records.values()):
        progress.stage(STAGE, "kept")
    else:
        progress.stage(STAGE, "running")
        store.reopen()
        with progress.track(STAGE, len(PROBES)) as bar:
            for probe in PROBES:
                bar.show(probe.id)
                key = keys[probe.id]
                if records[probe.id] is None:
                    store.start_stage(key, probe.id)
                    started = time.perf_counter()
                    payload = probe.run(context).model_dump()
                    record = StageRecord(
                        key=key, name=probe.id, payload=payload, seconds=time.perf_counter() - started
                    )
                    if not payload["found"].startswith(CRASHED):
                        store.finish_stage(record)
                    records[probe.id] = record
                bar.advance(1)
        progress.stage(STAGE, "done", sum(record.seconds for record in records.values() if record))
    done = [record for record in records.values() if record is not None]
    return [Check.model_validate(record.payload) for record in done], sum(record.seconds for record in done)


def _digest(cascade: Cascade, found: Found) -> str:
    """Return the hash of what the checks build on, beside the problem."""
    rows = [[row.attack, row.broken] for row in found.rows]
    proven = None if found.proven is None else sorted(found.proven)
    ids = cascade.problem.images.ids.tolist()
    return digest(rows, sorted(found.right), proven, sorted(found.broken.items()), ids)


def _context(cascade: Cascade, findings: Findings) -> Context:
    problem = cascade.problem
    stages = {finding.stage.name: finding.stage for finding in findings.attacks}
    broken = {number: finding.stage.name for finding in findings.attacks for number in finding.won}

    def adversarial(ids: list[int]) -> Tensor:
        parts = [stored_images(cascade.store, problem, stages[broken[number]], [number]) for number in ids]
        return torch.cat(parts)

    near = [row for finding in findings.attacks for row in finding.confirmed.values()]
    found = Found(
        right=frozenset(findings.right),
        proven=None if findings.proven is None else frozenset(findings.proven),
        broken=broken,
        no_answer=frozenset(row.image_id for row in findings.clean.values() if row.prediction < 0),
        no_answer_near=frozenset(row.image_id for row in near if row.prediction < 0),
        rows=tuple(
            Row(
                attack=finding.stage.name,
                attacked=len(finding.outcomes),
                broken=len(finding.won),
                backwards=sum(row.backwards for row in finding.outcomes.values()),
            )
            for finding in findings.attacks
        ),
        adversarial=adversarial,
    )
    return Context(
        model=problem.attacked,
        surrogates=tuple(surrogate.model for surrogate in problem.surrogates),
        images=problem.images,
        classes=problem.classes,
        threat=eight_bit.searched(problem.threat) if problem.eight_bit else problem.threat,
        attacks=tuple(stage.attack for stage in cascade.stages),
        found=found,
        seed=problem.seed,
        samples=problem.samples,
        half=problem.half,
        device=problem.device,
        batch_size=problem.batch_size,
    )
