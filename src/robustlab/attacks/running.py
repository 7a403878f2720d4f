"""An attack run on all images, batch by batch."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING, get_args

import torch
from torch import Tensor

from robustlab.attacks.attack_input import AttackInput
from robustlab.attacks.batch import AttackBatch, Realise
from robustlab.attacks.result import AttackResult
from robustlab.attacks.session import Session
from robustlab.attacks.watch import OnPass, Watch
from robustlab.core import seeding
from robustlab.core.arguments import MOST_SAMPLES, check_choice, check_whole
from robustlab.core.batches import BatchSize, check_batch_size, in_batches
from robustlab.core.errors import RobustlabError
from robustlab.core.options import Mode

if TYPE_CHECKING:  # an attack is run by this
    from robustlab.attacks.base import Attack


@dataclass(frozen=True, kw_only=True)
class RunSettings:
    """How an attack is run: those arguments of `Attack.run` that belong to no single image.

    Raises:
        RobustlabError: one is out of range.
    """

    seed: int
    mode: Mode
    batch_size: int | BatchSize
    samples: int
    half: bool
    realise: Realise | None
    on_batch: Callable[[int], None] | None
    on_pass: OnPass | None

    def __post_init__(self) -> None:
        check_choice("mode", self.mode, get_args(Mode))
        check_whole("seed", self.seed, 0)
        check_batch_size(self.batch_size)
        check_whole("samples", self.samples, 1, MOST_SAMPLES)


def run_in_batches(attack: Attack, given: AttackInput, settings: RunSettings) -> AttackResult:
    """Attack all images, and return what was found in their order."""
    # By the name alone: more steps or restarts go on with the same search instead of starting another.
    key = seeding.derive(settings.seed, attack.core.name)
    with ExitStack() as stack:
        given = given.prepared(stack)

        def attack_rows(rows: Tensor) -> AttackResult:
            task = _batch(attack, given, settings, rows, key)
            # A random classifier draws from the global generator: it gets the same numbers in every run.
            with seeding.isolated(seeding.derive(key, "model", int(given.ids[rows[0]]))):
                result = _attack_batch(attack, task)
            if settings.on_batch is not None:
                settings.on_batch(len(rows))
            return result

        everyone = torch.arange(len(given.images), device=given.images.device)
        results = in_batches(everyone, settings.batch_size, attack_rows)
    return AttackResult.joined([AttackResult.empty(given.images), *results])


def _batch(attack: Attack, given: AttackInput, settings: RunSettings, rows: Tensor, key: int) -> AttackBatch:
    core, samples = attack.core, settings.samples
    fp32 = core.exact or core.minimal_norm or core.estimator.small_differences
    return AttackBatch(
        model=given.model,
        images=given.images[rows],
        labels=given.labels[rows],
        ids=given.ids[rows],
        criterion=given.goal(rows),
        gradient=core.estimator,
        threat=given.threat,
        eps=given.eps[rows].to(given.images.dtype),
        key=key,
        mode=settings.mode,
        minimal_norm=core.minimal_norm,
        yardstick=core.yardstick,
        samples=samples,
        surrogates=given.surrogates,
        half=settings.half and not fp32,
        realise=settings.realise,
        watch=settings.on_pass and _watch(attack, settings.on_pass, samples),
    )


def _watch(attack: Attack, tell: OnPass, samples: int) -> Watch:
    passes, each = attack.passes, attack.core.estimator.passes
    known = None if passes is None or each is None else passes * each * samples
    return Watch(tell, passes=known, restarts=attack.restart_count)


def _attack_batch(attack: Attack, task: AttackBatch) -> AttackResult:
    session = Session(task)
    session.start()
    for restart in range(attack.restart_count):
        session.begin(restart)
        if task.watch:
            task.watch.begin(restart, session.oracle.forwards)
        if session.finished:
            break
        attack.search(session)
    predictions, confidences, successes = session.verify()
    record, oracle = session.record, session.oracle
    distances = task.threat.distance(record.best, task.images)
    if not (distances <= task.eps * (1 + 1e-5) + 1e-5).all():
        raise RobustlabError(f"{attack.name} proposed a point outside {task.threat!r}: a bug in the attack")
    return AttackResult(
        images=record.best,
        predictions=predictions,
        confidences=confidences,
        successes=successes,
        distances=distances,
        forwards=oracle.forwards,
        backwards=oracle.backwards,
        restarts=record.found_by,
    )
