"""Evaluates the classifier for an attack: repetitions, precision, invalid answers, pass counts."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from robustlab.attacks.batch import AttackBatch
from robustlab.attacks.criteria import Observation
from robustlab.attacks.query_result import QueryResult
from robustlab.core import seeding
from robustlab.core.calling import ask, calling
from robustlab.core.errors import RobustlabError
from robustlab.core.inputs import check_classes
from robustlab.core.logits import finite, no_tensor
from robustlab.core.threads import begin_work

Measure = Callable[[Observation], Tensor]
"""A loss: takes the observation of n points and returns (n,)."""


def _first_logit(seen: Observation) -> Tensor:
    """Return (n,) numbers for callers that need no loss."""
    return seen.logits[:, 0]


class CountedModel:
    """The classifier of a task; ``rows`` are the places in the batch of the images to evaluate.

    Attributes:
        targets: (N,) the criterion's target classes, if it has them.
        forwards: (N,) forward passes per image of the batch, surrogates included.
        backwards: (N,) backward passes per image of the batch.
        random: whether the classifier has drawn from torch's global generators so far.
    """

    def __init__(self, batch: AttackBatch) -> None:
        self._batch = batch
        self._highest_class = int(batch.labels.max())
        self.forwards = torch.zeros_like(batch.labels)
        self.backwards = torch.zeros_like(batch.labels)
        self.random = False
        self.targets: Tensor | None = None
        self.targets = batch.criterion.targets(batch.labels, self._clean_logits)
        if self.targets is not None:
            self._highest_class = max(self._highest_class, int(self.targets.max()))

    def ask(
        self, points: Tensor, rows: Tensor, loss: Measure = _first_logit, *, exact: bool = False
    ) -> QueryResult:
        """Return logits, losses and whether the goal is reached; means over a random classifier's samples.

        Args:
            points: (n, C, H, W).
            rows: (n,) the images' places in the batch.
            loss: the loss to measure.
            exact: in fp32, even if the search is in bf16.

        Raises:
            RobustlabError: the classifier does not return logits, or returns too few classes.
        """
        return self._judged(points, rows, self._draws(points, rows, exact=exact), loss)

    def ask_surrogate(self, surrogate: nn.Module, points: Tensor, rows: Tensor, loss: Measure) -> QueryResult:
        """Return the answers of another classifier; otherwise as `ask`."""
        begin_work(points, "surrogate")
        logits = self._checked(ask(surrogate, self._batch.complete(points, rows)), points, rows)
        return self._judged(points, rows, [finite(logits)], loss)

    def gradient(
        self, total: Tensor, points: Tensor, rows: Tensor, *, passes: int, again: bool = False
    ) -> Tensor:
        """Return the gradient of a sum of answers with respect to the points.

        Args:
            total: the sum, a scalar.
            points: (n, C, H, W), the ones at which the classifier was evaluated.
            rows: (n,) the images' places in the batch.
            passes: how many backward passes per image this takes.
            again: whether another gradient of the same answers follows.
        """
        # An image may occur several times.
        self.backwards.index_add_(0, rows, torch.full_like(rows, passes))
        return input_gradient(total, points, again=again).nan_to_num(0.0, 0.0, 0.0)

    def observation(self, points: Tensor, logits: Tensor, valid: Tensor, rows: Tensor) -> Observation:
        """Return the observation that the criterion judges."""
        targets = None if self.targets is None else self.targets[rows]
        return Observation(
            points=self._batch.complete(points, rows),
            logits=logits,
            valid=valid,
            labels=self._batch.labels[rows],
            targets=targets,
        )

    @torch.no_grad()
    def _clean_logits(self) -> Tensor:
        rows = torch.arange(len(self._batch.labels), device=self._batch.labels.device)
        return _mean(self._draws(self._batch.images, rows, exact=True))[0]

    def _judged(
        self, points: Tensor, rows: Tensor, draws: list[tuple[Tensor, Tensor]], loss: Measure
    ) -> QueryResult:
        logits, valid = _mean(draws)
        seen = self.observation(points, logits, valid, rows)
        if len(draws) == 1:
            losses = loss(seen)
        else:  # the mean of the losses, whose gradient is the expected gradient
            each = [loss(self.observation(points, *result, rows)) for result in draws]
            losses = torch.stack(each).mean(dim=0)
        with torch.no_grad():
            reached = self._batch.criterion.reached(seen)
        return QueryResult(logits=logits, valid=valid, losses=losses, reached=reached)

    def _draws(self, points: Tensor, rows: Tensor, *, exact: bool) -> list[tuple[Tensor, Tensor]]:
        bf16 = self._batch.bf16 and not exact
        return [self._forward(points, rows, bf16=bf16) for _ in range(self._batch.eot_samples)]

    def _forward(self, points: Tensor, rows: Tensor, *, bf16: bool) -> tuple[Tensor, Tensor]:
        begin_work(points, ("bf16" if bf16 else "fp32"))
        state = None if self.random else seeding.global_state(points.device)
        with torch.autocast(points.device.type, torch.bfloat16, enabled=bf16):
            logits = ask(self._batch.model, self._batch.complete(points, rows))
        if state is not None:
            self.random = not torch.equal(state, seeding.global_state(points.device))
        return finite(self._checked(logits, points, rows))

    def _checked(self, logits: object, points: Tensor, rows: Tensor) -> Tensor:
        # An image may occur several times.
        self.forwards.index_add_(0, rows, torch.ones_like(rows))
        if not isinstance(logits, Tensor) or logits.ndim != 2 or len(logits) != len(points):
            shape = tuple(logits.shape) if isinstance(logits, Tensor) else no_tensor(logits)
            raise RobustlabError(f"the model must return logits of shape (N, K), found {shape}")
        check_classes(logits.shape[1], self._highest_class, "labels and targets")
        return logits


def _mean(draws: list[tuple[Tensor, Tensor]]) -> tuple[Tensor, Tensor]:
    """Return the logits (n, K) that represent all samples, and (n,) whether all of them are valid."""
    if len(draws) == 1:
        return draws[0]
    # The class of a random classifier is the one with the highest mean probability; success in one sample is
    # not enough.
    chances = torch.stack([logits.softmax(dim=1) for logits, _ in draws]).mean(dim=0)
    logits = chances.clamp(min=torch.finfo(chances.dtype).tiny).log()
    return logits, torch.stack([valid for _, valid in draws]).all(dim=0)


def input_gradient(total: Tensor, points: Tensor, *, again: bool = False) -> Tensor:
    """Return the gradient; zeros if no gradient reaches the input, as after a comparison."""
    if not total.requires_grad:
        return torch.zeros_like(points)
    with calling("the model", " in its backward pass"):
        (gradient,) = torch.autograd.grad(total, points, retain_graph=again, allow_unused=True)
    return torch.zeros_like(points) if gradient is None else gradient
