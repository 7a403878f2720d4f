"""Does a model still answer as it did? Its answers show what no look into a model finds."""

import torch
from torch import Tensor

from robustlab.attacks import frozen
from robustlab.attacks.oracle import slope
from robustlab.core import seeding
from robustlab.core.calling import UserCodeError
from robustlab.core.errors import RunError
from robustlab.core.own_dtype import dtype_of
from robustlab.core.progress import Progress
from robustlab.evaluation.engine.problem import Problem
from robustlab.runs.store import RunStore, StageRecord

_ASKED = 4
"""Images, asked one by one, so that neither the batch size nor the number of images matters."""

_DIRECTIONS = 16
"""How many numbers stand for a gradient."""

_TOLERANCES = {"logits": 1e-3, "finite": 0.0, "gradients": 1e-2}
"""Of the largest value in fp32: above what threads and processors change, below what settings do."""

_COARSER = 50.0
"""The multiple of that where a model computes in 16 bits."""

Answers = dict[str, list[list[float]]]
"""One row for each image and model."""


def forget_other_answers(problem: Problem, store: RunStore, progress: Progress, *, overwrite: bool) -> None:
    """Drop the rows of an earlier run if a model answers, or has gradients, otherwise than it did then.

    A model that varies by itself says nothing here.

    Raises:
        RunError: the earlier run is finished, and may not be overwritten.
    """
    key = f"{problem.key}/answers"
    now, before = _answers(problem, _ASKED), store.stage(key)
    first = {name: rows[: len(problem.models)] for name, rows in now.items()}
    if not _alike(problem, first, _answers(problem, 1)):
        return
    if before is not None:
        if _alike(problem, before.payload, now):
            return
        if store.complete and not overwrite:
            raise RunError(
                f"{store.folder} holds an evaluation of a model that answers the same images otherwise, or "
                "has other gradients; choose another folder with --out, or replace it with --overwrite"
            )
        store.reopen()
        store.keep_only([problem.measured_key])
        progress.note(
            "the model answers the same images otherwise than in the earlier run: all is done again"
        )
    store.finish_stage(StageRecord(key=key, name="answers", payload=now, seconds=0.0))


def _answers(problem: Problem, count: int) -> Answers:
    """Ask every model for its logits of the first images, and for what stands for the gradients."""
    images = problem.split.take(slice(count)).to(problem.device).pixels(slice(None))
    found: Answers = {name: [] for name in _TOLERANCES}
    for image in images.split(1):  # type: ignore[no-untyped-call]
        for model in problem.models:
            with torch.enable_grad(), seeding.isolated(0), frozen(model):
                points = image.clone().requires_grad_()
                logits = model(points)[0].cpu().double()
                finite = logits.isfinite()
                logits = torch.where(finite, logits, 0.0)
                # Weights that differ: the plain sum of log-probabilities, say, has a gradient near zero.
                weights = torch.arange(1, len(logits) + 1)
                gradient = _slope((logits * weights).sum(), points).flatten().cpu().double().nan_to_num()
            logits = logits.detach()
            found["logits"].append((logits - logits.max()).tolist())
            found["finite"].append(finite.double().tolist())
            found["gradients"].append((_directions(gradient) @ gradient).tolist())
    return found


def _slope(total: Tensor, points: Tensor) -> Tensor:
    """Return the gradient; zeros where the backward pass fails, for not every attack needs one."""
    try:
        return slope(total, points)
    except UserCodeError as error:
        if error.quits:
            raise
        return torch.zeros_like(points)


def _directions(gradient: Tensor) -> Tensor:
    """Return fixed directions (n, D) for a gradient (D,): almost any change of it changes the products."""
    drawn = torch.Generator().manual_seed(0)
    return torch.randint(2, (_DIRECTIONS, len(gradient)), generator=drawn).double() * 2 - 1


def _alike(problem: Problem, one: Answers, other: Answers) -> bool:
    """Tell whether answers are the same, as nearly as the models' precision lets them be."""
    exact = all(dtype_of(model) in {torch.float32, torch.float64} for model in problem.models)
    for name, tolerance in _TOLERANCES.items():
        for a, b in zip(one[name], other[name], strict=True):
            apart, largest = torch.tensor(a).sub(torch.tensor(b)).abs().max(), torch.tensor(b).abs().max()
            if apart > tolerance * (1 if exact else _COARSER) * largest:
                return False
    return True
