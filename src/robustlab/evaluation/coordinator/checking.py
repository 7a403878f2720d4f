"""Runs the checks on the results of the cascade; the result of each active check is in the ledger."""

import time

import torch
from torch import Tensor, nn

from robustlab.attacks.criteria import MISCLASSIFIED
from robustlab.core.calling import blaming
from robustlab.evaluation.checked_model import CheckedModel
from robustlab.evaluation.checks import (
    AttackedRow,
    AttackRunner,
    Check,
    Context,
    EvaluationSummary,
    Which,
    checks_of,
)
from robustlab.evaluation.checks.allowance import allowed
from robustlab.evaluation.checks.base import CRASHED
from robustlab.evaluation.checks.no_gradient import NoGradient
from robustlab.evaluation.coordinator.cascade import Cascade, CascadeResult
from robustlab.evaluation.identity import code_of, hash_tensors
from robustlab.evaluation.jobs import eight_bit
from robustlab.evaluation.jobs.context import EvaluationContext, source_of
from robustlab.models.base import Shape
from robustlab.models.zoo import trained_on
from robustlab.runs.evaluation import CheckRecord
from robustlab.runs.ledger import StageRecord
from robustlab.runs.store import RunStore

STAGE = "checks"


def warned(cascade: Cascade, dataset: str) -> list[CheckRecord]:
    """Return, before the first attack, the result of the check for gradients; empty if it passes.

    The user gets the warning at once, even if the other checks are off.
    """
    # Before the attacks, every image may still be broken.
    context = _context(cascade, CascadeResult(clean={}, correct=cascade.context.images.ids.tolist()), dataset)
    first = NoGradient()
    state = first.state(context)
    if state is None:
        return []
    key = _key(cascade, first, state)
    record = cascade.store.stage(key)
    if record is None:
        cascade.store.reopen()
        record = _computed(cascade.store, key, first, context)
    check = CheckRecord.model_validate(record.payload)
    if check.grade == "pass" or check.found.startswith(CRASHED):
        return []
    cascade.progress.note(f"{check.found}. {check.meaning}")
    return [check]


def checked(
    cascade: Cascade, findings: CascadeResult, dataset: str, which: Which = "all"
) -> tuple[list[CheckRecord], float]:
    """Return the results of the requested checks, and the seconds of the active ones.

    Results of an earlier run on the same sample are kept, since they depend only on the sample.

    Args:
        cascade: the finished cascade; its ledger keeps the results.
        dataset: the name of the images' dataset.
        which: ``"all"`` checks, the ``"cheap"`` ones, or those of these names or ids.
    """
    store, progress = cascade.store, cascade.progress
    contexts = allowed(checks_of(which), _context(cascade, findings, dataset), findings.passes)
    states = {check: state for check in contexts if (state := check.state(contexts[check])) is not None}
    keys = {check: _key(cascade, check, state) for check, state in states.items()}
    records = {check: record for check, key in keys.items() if (record := store.stage(key)) is not None}
    missing = [check for check in keys if check not in records]
    if missing:
        progress.stage(STAGE, "running")
        store.reopen()
        with progress.track(STAGE, len(missing), unit="checks") as bar:
            for check in missing:
                bar.show(check.id)
                records[check] = _computed(store, keys[check], check, contexts[check])
                bar.advance(1)
    seconds = sum(record.seconds for record in records.values())
    progress.stage(STAGE, "done", seconds) if missing else progress.stage(STAGE, "kept")
    outcomes = [
        CheckRecord.model_validate(records[check].payload) if check in records else _run(check, context)
        for check, context in contexts.items()
    ]
    return outcomes, seconds


def _key(cascade: Cascade, check: Check, state: str) -> str:
    evaluation = cascade.context
    goal = "" if evaluation.criterion == MISCLASSIFIED else repr(evaluation.criterion)
    code = f"{goal}{source_of('evaluation/checks')}{code_of(check)}"
    return f"{evaluation.key}/check {check!r} {state} {code}"


def _run(check: Check, context: Context) -> CheckRecord:
    with blaming(check.id):
        return check.run(context)


def _computed(store: RunStore, key: str, check: Check, context: Context) -> StageRecord:
    store.start_stage(key, check.id)
    started = time.perf_counter()
    outcome = _run(check, context)
    seconds = time.perf_counter() - started
    record = StageRecord(key=key, name=check.id, payload=outcome.model_dump(), seconds=seconds)
    if not outcome.found.startswith(CRASHED):
        store.finish_stage(record)
    return record


def _surrogates(evaluation: EvaluationContext, dataset: str) -> dict[str, nn.Module]:
    """Return by hash the given surrogates, or else robustlab's own networks for this dataset."""
    if evaluation.surrogates:
        hashes = [loaded.sha256() for loaded in evaluation.surrogates]
        return dict(zip(hashes, evaluation.surrogate_models, strict=True))
    channels, height, width = evaluation.images.images.shape[1:]
    known = trained_on(dataset, Shape(channels, height, width, evaluation.classes))
    own = evaluation.subject.sha256()
    others = {number: network for network in known if (number := hash_tensors(network)) != own}
    return {
        number: CheckedModel(network.to(evaluation.device), evaluation.classes)
        for number, network in others.items()
    }


def _context(cascade: Cascade, findings: CascadeResult, dataset: str) -> Context:
    evaluation = cascade.context

    def adversarial(ids: list[int]) -> Tensor:
        images: dict[int, Tensor] = {}
        for finding in findings.attacks:
            won = sorted(set(ids).intersection(finding.won))
            if won:
                images |= zip(won, cascade.stored_images(finding.stage, won), strict=True)
        return torch.stack([images[number] for number in ids])

    summary = EvaluationSummary(
        correct=frozenset(findings.correct),
        certified=None if findings.certified is None else frozenset(findings.certified),
        broken={
            number: finding.confirmed[number].distance
            for finding in findings.attacks
            for number in finding.won
        },
        no_answer=frozenset(row.image_id for row in findings.clean.values() if row.prediction < 0),
        no_answer_near=frozenset(findings.no_answer_near(evaluation.threat.eps)),
        rows=tuple(
            AttackedRow.of(
                finding.stage.attack,
                finding.outcomes.values(),
                set(findings.correct),
                met=len(finding.met),
                broken=len(finding.won),
            )
            for finding in findings.attacks
        ),
        adversarial=adversarial,
        in_train_mode=evaluation.in_train_mode,
    )
    surrogates = _surrogates(evaluation, dataset)
    runner = AttackRunner(
        model=evaluation.attacked,
        surrogates=tuple(surrogates.values()),
        classes=evaluation.classes,
        threat=eight_bit.searched(evaluation.threat) if evaluation.eight_bit else evaluation.threat,
        criterion=evaluation.criterion,
        seed=evaluation.seed,
        eot_samples=evaluation.eot_samples,
        bf16=evaluation.bf16,
        quantize=eight_bit.quantize(evaluation.threat) if evaluation.eight_bit else None,
        device=evaluation.device,
        batch_size=evaluation.batch_size,
    )
    attacks = {f"{stage.name}{stage.code}": stage.attack for stage in cascade.stages}
    return Context(
        runner=runner,
        images=evaluation.images,
        attacks=attacks,
        found=summary,
        surrogates=tuple(surrogates),
        split=evaluation.split,
    )
