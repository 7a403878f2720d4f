"""Runs the checks on what the cascade found; the outcome of each experiment is a stage of the ledger."""

import time

import torch
from torch import Tensor, nn

from robustlab.attacks import WhereMasked
from robustlab.core.calling import blaming
from robustlab.evaluation.checked_model import CheckedModel
from robustlab.evaluation.checks import (
    NO_GRADIENT,
    PROBES,
    AttackedRow,
    AttackRunner,
    Context,
    EvaluationSummary,
    Probe,
)
from robustlab.evaluation.checks.base import CRASHED
from robustlab.evaluation.engine.cascade import Cascade, CascadeResult
from robustlab.evaluation.engine.stored import stored_images
from robustlab.evaluation.identity import hash_tensors
from robustlab.evaluation.jobs import eight_bit
from robustlab.evaluation.jobs.context import EvaluationContext, code_of
from robustlab.models.base import Shape
from robustlab.models.zoo import trained_on
from robustlab.runs.evaluation import Check
from robustlab.runs.store import RunStore, StageRecord

STAGE = "checks"


def warned(cascade: Cascade, dataset: str) -> list[Check]:
    """Return, before the first attack, the check that there is a gradient; nothing if it finds no fault.

    The user is warned at once, also without the other checks.
    """
    # Before the attacks every image is one that they might break.
    context = _context(cascade, CascadeResult(clean={}, right=cascade.problem.images.ids.tolist()), dataset)
    state = NO_GRADIENT.state(context)
    if state is None:
        return []
    key = _key(cascade, NO_GRADIENT, state)
    record = cascade.store.stage(key)
    if record is None:
        cascade.store.reopen()
        record = _computed(cascade.store, key, NO_GRADIENT, context)
    check = Check.model_validate(record.payload)
    if check.grade == "pass" or check.found.startswith(CRASHED):
        return []
    cascade.progress.note(f"{check.found}. {check.meaning}")
    return [check]


def checked(
    cascade: Cascade, findings: CascadeResult, dataset: str, which: str = "all"
) -> tuple[list[Check], float]:
    """Return the outcome of every check, and the seconds that the experiments among them took.

    An experiment that an earlier run did on the same sample is not done again, whatever else was found since.
    """
    store, progress, context = cascade.store, cascade.progress, _context(cascade, findings, dataset)
    states = {probe: state for probe in PROBES if (state := probe.state(context)) is not None}
    keys = {probe: _key(cascade, probe, state) for probe, state in states.items()}
    records = {probe: record for probe, key in keys.items() if (record := store.stage(key)) is not None}
    missing = [probe for probe in keys if probe not in records]
    if missing:
        progress.stage(STAGE, "running")
        store.reopen()
        with progress.track(STAGE, len(missing), unit="checks") as bar:
            for probe in missing:
                bar.show(probe.id)
                records[probe] = _computed(store, keys[probe], probe, context)
                bar.advance(1)
    seconds = sum(record.seconds for record in records.values())
    progress.stage(STAGE, "done", seconds) if missing else progress.stage(STAGE, "kept")
    checks = [
        Check.model_validate(records[probe].payload) if probe in records else probe.run(context)
        for probe in PROBES
    ]
    return checks, seconds


def _key(cascade: Cascade, probe: Probe, state: str) -> str:
    return f"{cascade.problem.key}/check {probe.id} {state} {code_of('evaluation/checks')}"


def _computed(store: RunStore, key: str, probe: Probe, context: Context) -> StageRecord:
    store.start_stage(key, probe.id)
    started = time.perf_counter()
    with blaming(probe.id):
        check = probe.run(context)
    seconds = time.perf_counter() - started
    record = StageRecord(key=key, name=probe.id, payload=check.model_dump(), seconds=seconds)
    if not check.found.startswith(CRASHED):
        store.finish_stage(record)
    return record


def _surrogates(problem: EvaluationContext, dataset: str) -> dict[str, nn.Module]:
    """Return by hash the surrogates that were given, or else robustlab's networks that know this dataset."""
    if problem.surrogates:
        hashes = [loaded.sha256() for loaded in problem.surrogates]
        return dict(zip(hashes, problem.surrogate_models, strict=True))
    channels, height, width = problem.images.images.shape[1:]
    known = trained_on(dataset, Shape(channels, height, width, problem.classes))
    own = problem.subject.sha256()
    others = {number: network for network in known if (number := hash_tensors(network)) != own}
    return {
        number: CheckedModel(network.to(problem.device), problem.classes)
        for number, network in others.items()
    }


def _context(cascade: Cascade, findings: CascadeResult, dataset: str) -> Context:
    problem = cascade.problem

    def adversarial(ids: list[int]) -> Tensor:
        images: dict[int, Tensor] = {}
        for finding in findings.attacks:
            won = sorted(set(ids).intersection(finding.won))
            if won:
                images |= zip(won, stored_images(cascade.store, problem, finding.stage, won), strict=True)
        return torch.stack([images[number] for number in ids])

    found = EvaluationSummary(
        right=frozenset(findings.right),
        proven=None if findings.proven is None else frozenset(findings.proven),
        broken={
            number: finding.confirmed[number].distance
            for finding in findings.attacks
            for number in finding.won
        },
        no_answer=frozenset(row.image_id for row in findings.clean.values() if row.prediction < 0),
        no_answer_near=frozenset(findings.no_answer_near(problem.threat.eps)),
        rows=tuple(
            AttackedRow(
                attack=finding.stage.name,
                attacked=len(finding.met),
                broken=len(finding.won),
                blind=isinstance(finding.stage.attack, WhereMasked)
                or not any(row.backwards for row in finding.outcomes.values()),
            )
            for finding in findings.attacks
        ),
        adversarial=adversarial,
        in_train_mode=problem.in_train_mode,
    )
    surrogates = _surrogates(problem, dataset)
    lab = AttackRunner(
        model=problem.attacked,
        surrogates=tuple(surrogates.values()),
        classes=problem.classes,
        threat=eight_bit.searched(problem.threat) if problem.eight_bit else problem.threat,
        seed=problem.seed,
        samples=problem.samples,
        half=problem.half,
        realise=eight_bit.realise(problem.threat) if problem.eight_bit else None,
        device=problem.device,
        batch_size=problem.batch_size,
    )
    attacks = {f"{stage.name}{stage.code}": stage.attack for stage in cascade.stages}
    return Context(
        lab=lab,
        images=problem.images,
        attacks=attacks,
        found=found,
        surrogates=tuple(surrogates),
        split=problem.split,
    )
