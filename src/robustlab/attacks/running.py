"""Runs an attack on all images, batch by batch."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from robustlab.attacks.attack_input import AttackInput
from robustlab.attacks.batch import AttackBatch, Quantize
from robustlab.attacks.progress_reporter import OnPass, ProgressReporter
from robustlab.attacks.result import AttackResult
from robustlab.attacks.session import Session
from robustlab.core import seeding
from robustlab.core.arguments import MAX_SAMPLES, check_kind, check_whole
from robustlab.core.batches import BatchSize, check_batch_size, in_batches
from robustlab.core.errors import RobustlabError

if TYPE_CHECKING:  # an attack is run by this
    from robustlab.attacks.base import Attack


@dataclass(frozen=True, kw_only=True)
class RunSettings:
    """The settings of a run: the arguments of `Attack.run` that are the same for all images.

    Raises:
        RobustlabError: one is out of range.
    """

    seed: int
    early_stop: bool
    batch_size: int | BatchSize
    eot_samples: int
    bf16: bool
    quantize: Quantize | None
    on_batch: Callable[[int], None] | None
    on_pass: OnPass | None

    def __post_init__(self) -> None:
        check_kind("early_stop", self.early_stop, (bool,), "True or False")
        check_whole("seed", self.seed, 0)
        check_batch_size(self.batch_size)
        check_whole("eot_samples", self.eot_samples, 1, MAX_SAMPLES)


def run_in_batches(attack: Attack, given: AttackInput, settings: RunSettings) -> AttackResult:
    """Attack all images, and return the results in their order."""
    # Only by the name: with more steps or restarts an attack continues the same search.
    key = seeding.derive(settings.seed, attack.inner.drawn_as or attack.inner.name)
    with ExitStack() as stack:
        given = given.prepared(stack)

        def attack_rows(rows: Tensor) -> AttackResult:
            batch = _batch_of(attack, given, settings, rows, key)
            # A random classifier draws from the global generator, so it gets the same numbers in every run.
            with seeding.isolated(seeding.derive(key, "model", int(given.ids[rows[0]]))):
                result = _attack_batch(attack, batch)
            if settings.on_batch is not None:
                settings.on_batch(len(rows))
            return result

        everyone = torch.arange(len(given.images), device=given.images.device)
        results = in_batches(everyone, settings.batch_size, attack_rows)
    return AttackResult.joined([AttackResult.empty(given.images), *results])


def _batch_of(
    attack: Attack, given: AttackInput, settings: RunSettings, rows: Tensor, key: int
) -> AttackBatch:
    inner, eot_samples = attack.inner, settings.eot_samples
    whole = given.images[rows]
    fp32 = inner.exact or inner.minimum_norm or inner.estimator.small_differences
    return AttackBatch(
        model=given.model,
        images=given.threat.free_values(whole),
        labels=given.labels[rows],
        ids=given.ids[rows],
        criterion=given.goal(rows),
        gradient=inner.estimator,
        threat=given.threat.inner,
        eps=given.eps[rows].to(whole.dtype),
        key=key,
        early_stop=settings.early_stop,
        minimum_norm=inner.minimum_norm,
        selection_loss=inner.selection_loss,
        eot_samples=eot_samples,
        surrogates=given.surrogates,
        bf16=settings.bf16 and not fp32,
        quantize=settings.quantize,
        reporter=settings.on_pass and _reporter(attack, settings.on_pass, eot_samples),
        whole=whole,
        whole_threat=given.threat,
    )


def _reporter(attack: Attack, report: OnPass, eot_samples: int) -> ProgressReporter:
    passes, each = attack.passes, attack.inner.estimator.passes
    known = None if passes is None or each is None else passes * each * eot_samples
    return ProgressReporter(report, passes=known, restarts=attack.restart_count)


def _attack_batch(attack: Attack, batch: AttackBatch) -> AttackResult:
    session = Session(batch)
    session.start()
    for restart in range(attack.restart_count):
        session.begin(restart)
        if batch.reporter:
            batch.reporter.begin(restart, session.counted_model.forwards)
        if session.finished:
            break
        attack.search(session)
    predictions, confidences, successes = session.verify()
    best_so_far, counted_model = session.best_so_far, session.counted_model
    distances = batch.threat.distance(best_so_far.best, batch.images)
    if not (distances <= batch.eps * (1 + 1e-5) + 1e-5).all():
        raise RobustlabError(f"{attack.name} proposed a point outside {batch.threat!r}: a bug in the attack")
    return AttackResult(
        images=batch.complete(best_so_far.best, session.everyone),
        predictions=predictions,
        confidences=confidences,
        successes=successes,
        distances=distances,
        forwards=counted_model.forwards,
        backwards=counted_model.backwards,
        restarts=best_so_far.found_by,
    )
