"""Checks that a model still gives the same answers; this finds changes that a hash of the model misses."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from scipy.stats import binomtest
from torch import Tensor

from robustlab.attacks import frozen
from robustlab.attacks.counted_model import input_gradient
from robustlab.core import seeding
from robustlab.core.calling import UserCodeError
from robustlab.core.errors import RunError
from robustlab.core.own_dtype import dtype_of
from robustlab.core.progress import Progress
from robustlab.core.threads import THREADS_USED, measured_threads
from robustlab.evaluation.jobs.context import EvaluationContext
from robustlab.evaluation.jobs.stages import Clean, key_of
from robustlab.models.black_box import queries, repeats
from robustlab.runs.ledger import StageRecord
from robustlab.runs.store import RunStore

_ASKED = 4
"""The number of images, evaluated one by one, so that neither the batch size nor the number of images
matters."""

_DIRECTIONS = 16
"""The number of values that represent a gradient."""

_TOLERANCES = {"logits": 1e-3, "finite": 0.0, "gradients": 1e-2}
"""Tolerances relative to the largest value, in fp32: larger than the differences between threads and
processors, smaller than those between settings."""

_COARSER = 50.0
"""The multiple of the tolerance for a model that computes in 16 bits."""

_CLASSIFIED, _FEW_CLASSIFIED = 128, 16
"""The number of clean images whose class is compared with the ledger's, and that of a black box."""

_APART, _SIGNIFICANT = 0.01, 1e-4
"""A difference of confidences, and a p-value, that only another model explains."""

Answers = dict[str, list[list[float]]]
"""One row for each image and model."""


class OtherAnswersError(RunError):
    """The model of a finished run has the same hash as this one, but its answers differ."""


def forget_other_answers(
    context: EvaluationContext, store: RunStore, progress: Progress, *, overwrite: bool
) -> None:
    """Drop the rows of an earlier run if a model's answers or gradients have changed.

    Raises:
        OtherAnswersError: the earlier run is finished, and may not be overwritten.
    """
    record = answers_of(context, context.key)
    before = store.stage(record.key)
    if before is not None and not answers_changed(context, store, before, record):
        return
    if before is not None:
        if store.complete and not overwrite:
            raise OtherAnswersError(
                f"{store.folder} holds an evaluation of a model that answers the same images otherwise, or "
                "has other gradients; choose another folder with --out, or replace it with --overwrite"
            )
        store.reopen()
        progress.note(
            "the model answers the same images otherwise than in the earlier run: all is done again"
        )
    # Without a record, the earlier answers belong to another evaluation, and were not compared.
    store.keep_only([context.measured_key])
    store.finish_stage(record)


def answers_of(context: EvaluationContext, key: str) -> StageRecord:
    """Return the models' answers to a few images, to compare with later, and whether they vary.

    They vary if the same image gets different ones: with the same seed, which leaves nothing to compare, or
    with another one, as of a model that draws random numbers.
    """
    answers = _answers(context, _ASKED)
    first = {name: rows[: len(context.models)] for name, rows in answers.items()}
    varies = not _alike(context, first, _answers(context, 1, seed=1))
    seeded = not varies or _alike(context, first, _answers(context, 1))
    asked = queries(context.model) - context.queries_before
    payload = {"answers": answers if seeded else {}, "varies": varies, "queries": asked}
    return StageRecord(key=f"{key}/answers", name="answers", payload=payload, seconds=0.0)


@contextmanager
def counted_repeats(context: EvaluationContext, store: RunStore) -> Iterator[None]:
    """Keep how many images a black box is asked about again inside the block, with those of earlier runs."""
    before = repeats(context.model)
    try:
        yield
    finally:
        if asked := repeats(context.model) - before:
            payload = {"queries": asked + repeats_of(context, store)}
            store.finish_stage(
                StageRecord(key=f"{context.key}/repeats", name="repeats", payload=payload, seconds=0.0)
            )


def repeats_of(context: EvaluationContext, store: RunStore) -> int:
    """Return how many images a black box was asked about again by the attacks, in all runs."""
    record = store.stage(f"{context.key}/repeats")
    return 0 if record is None else int(record.payload["queries"])


@contextmanager
def counted_threads(context: EvaluationContext, store: RunStore) -> Iterator[None]:
    """Keep the seconds of work for each number of threads inside the block, with those of earlier runs."""
    with measured_threads() as used:
        try:
            yield
        finally:
            if used:
                payload = {THREADS_USED: [*threads_of(context, store), used]}
                store.finish_stage(
                    StageRecord(key=f"{context.key}/threads", name="threads", payload=payload, seconds=0.0)
                )


def threads_of(context: EvaluationContext, store: RunStore) -> list[dict[str, float]]:
    """Return the seconds of work for each number of threads, of all runs."""
    record = store.stage(f"{context.key}/threads")
    return [] if record is None else list(record.payload[THREADS_USED])


def answers_changed(
    context: EvaluationContext, store: RunStore, before: StageRecord, now: StageRecord
) -> bool:
    """Return whether answers differ between two records of `answers_of`, or from the ledger's."""
    old, new = before.payload["answers"], now.payload["answers"]
    if old and new and not _alike(context, old, new):
        return True
    return _classifies_otherwise(context, store, varies=now.payload["varies"])


def _classifies_otherwise(context: EvaluationContext, store: RunStore, *, varies: bool) -> bool:
    """Return whether classes or confidences of clean images differ from the ledger's.

    For a model with varying answers: whether the accuracy differs significantly.
    """
    rows = {row.image_id: row for row in store.outcomes(key_of(context, Clean()))}
    split = context.split.take(slice(_FEW_CLASSIFIED if context.black_box else _CLASSIFIED))
    split = split.take(torch.isin(split.ids, torch.tensor(list(rows), dtype=torch.int64)))
    if not len(split):
        return False
    kept = [rows[number] for number in split.ids.tolist()]
    pixels = split.to(context.device).pixels(slice(None))
    answers = context.responses(pixels, "clean again")
    classes, confidences = answers.classes.cpu(), answers.confidences.cpu()
    before = torch.tensor([row.prediction for row in kept])
    if varies:
        lost = int(((before == split.labels) & (classes != split.labels)).sum())
        won = int(((before != split.labels) & (classes == split.labels)).sum())
        return bool(lost + won) and binomtest(lost, lost + won).pvalue < _SIGNIFICANT
    apart = (confidences - torch.tensor([row.confidence for row in kept])).abs() > _APART
    # For near ties, another processor may give another class.
    other = (before != classes) & (confidences > 0.5 + _APART)
    for place in (apart | other).nonzero().flatten()[:_ASKED].tolist():
        again = context.responses(pixels[place : place + 1], "alone")
        alone, sure = again.classes, again.confidences
        # If they differ, the other images of the batch decide.
        if int(alone) == int(classes[place]) and abs(float(sure) - float(confidences[place])) <= _APART:
            return True
    return False


def _answers(context: EvaluationContext, count: int, seed: int = 0) -> Answers:
    """Return every model's logits of the first images, and values that represent the gradients."""
    images = context.split.take(slice(count)).to(context.device).pixels(slice(None))
    answers: Answers = {name: [] for name in _TOLERANCES}
    for image in images.split(1):  # type: ignore[no-untyped-call]
        for model in context.models:
            with torch.enable_grad(), seeding.isolated(seed), frozen(model):
                points = image.clone().requires_grad_()
                logits = model(points)[0].cpu().double()
                finite = logits.isfinite()
                logits = torch.where(finite, logits, 0.0)
                # Weights that differ: the gradient of an unweighted sum of log-probabilities, for example, is
                # near zero.
                weights = torch.arange(1, len(logits) + 1)
                gradient = _slope((logits * weights).sum(), points).flatten().cpu().double().nan_to_num()
            logits = logits.detach()
            answers["logits"].append((logits - logits.max()).tolist())
            answers["finite"].append(finite.double().tolist())
            answers["gradients"].append((_directions(gradient) @ gradient).tolist())
    return answers


def _slope(total: Tensor, points: Tensor) -> Tensor:
    """Return the gradient; zeros if the backward pass fails, since not every attack needs it."""
    try:
        return input_gradient(total, points)
    except UserCodeError as error:
        if error.quits:
            raise
        return torch.zeros_like(points)


def _directions(gradient: Tensor) -> Tensor:
    """Return fixed directions (n, D) for a gradient (D,): almost any change of it changes the products."""
    drawn = torch.Generator().manual_seed(0)
    return torch.randint(2, (_DIRECTIONS, len(gradient)), generator=drawn).double() * 2 - 1


def _alike(context: EvaluationContext, one: Answers, other: Answers) -> bool:
    """Return whether answers are the same, within the models' precision."""
    exact = all(dtype_of(model) in {torch.float32, torch.float64} for model in context.models)
    for name, tolerance in _TOLERANCES.items():
        for a, b in zip(one[name], other[name], strict=True):
            apart, largest = torch.tensor(a).sub(torch.tensor(b)).abs().max(), torch.tensor(b).abs().max()
            if apart > tolerance * (1 if exact else _COARSER) * largest:
                return False
    return True
