"""Does a model still answer as it did? Its answers show what no look into a model finds."""

import torch
from torch import Tensor

from robustlab.core.errors import RunError
from robustlab.core.progress import Progress
from robustlab.core.store import RunStore
from robustlab.evaluation.engine.problem import Problem
from robustlab.evaluation.engine.stages import Clean, key_of

_ASKED = 8
_TOLERANCE = 0.01
"""Of a confidence: far above what threads and processors change, far below what another model does."""


def forget_other_answers(problem: Problem, store: RunStore, progress: Progress, *, overwrite: bool) -> None:
    """Drop the rows of an earlier run if the model answers its first clean images otherwise now.

    A model whose answer to an image varies by itself, at random or with the batch, says nothing here.

    Raises:
        RunError: the earlier run is finished, and may not be overwritten.
    """
    kept = {row.image_id: row for row in store.outcomes(key_of(problem, Clean()))}
    images = problem.images.take(slice(_ASKED)).to(problem.device)
    if not kept or not set(images.ids.tolist()) <= kept.keys():
        return
    pixels = images.pixels(slice(None))
    now = problem.predict(pixels, "clean")
    alone = [problem.predict(image, "again") for image in pixels.split(1)]  # type: ignore[no-untyped-call]
    rows = [kept[number] for number in images.ids.tolist()]
    before = (
        torch.tensor([row.prediction for row in rows]),
        torch.tensor([row.confidence for row in rows]),
    )
    varies = not _alike(now, tuple(torch.cat(column) for column in zip(*alone, strict=True)))
    if varies or _alike(now, before):
        return
    if store.complete and not overwrite:
        raise RunError(
            f"{store.folder} holds an evaluation of a model that answers the same images otherwise; "
            "choose another folder with --out, or replace it with --overwrite"
        )
    store.reopen()
    store.keep_only([problem.measured_key])
    progress.note("the model answers the same images otherwise than in the earlier run: all is done again")


def _alike(one: tuple[Tensor, ...], other: tuple[Tensor, ...]) -> bool:
    """Tell whether classes (n,) are the same, and confidences (n,) nearly so."""
    same = one[0].cpu().equal(other[0].cpu())
    apart = (one[1].cpu().double() - other[1].cpu().double()).abs()
    return same and bool((apart <= _TOLERANCE).all())
