"""Asks the classifier on an attack's behalf: repeats, precision, bad answers, and the count of passes."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from robustlab.attacks.batch import AttackBatch
from robustlab.core import seeding
from robustlab.core.calling import ask, calling
from robustlab.core.errors import RobustlabError
from robustlab.core.inputs import check_classes
from robustlab.core.logits import finite, no_tensor


@dataclass(frozen=True)
class Answer:
    """What the classifier says of n points.

    Attributes:
        logits: (n, K), all finite, as `core.logits.finite` returns them; zeros where there is no answer.
        valid: (n,) whether there is an answer.
        losses: (n,) of the loss asked for.
    """

    logits: Tensor
    valid: Tensor
    losses: Tensor


@dataclass(frozen=True, kw_only=True)
class QueryResult:
    """What the classifier says of the proposed points, one row per active image.

    Attributes:
        logits: (n, K), all finite, as `core.logits.finite` returns them; zeros where there is no answer.
        valid: (n,) whether there is an answer.
        losses: (n,) of the loss asked for.
        reached: (n,) whether the attacker's goal is reached there, whatever the distance.
        gradient: (n, C, H, W) of the losses, if it was asked for.
    """

    logits: Tensor
    valid: Tensor
    losses: Tensor
    reached: Tensor
    gradient: Tensor | None = None

    @property
    def ascent(self) -> Tensor:
        """The gradient, where one was asked for."""
        if self.gradient is None:
            raise ValueError("this reading was taken without a gradient")
        return self.gradient


def _first_logit(logits: Tensor) -> Tensor:
    """Return (n,) numbers for those who ask for no loss."""
    return logits[:, 0]


class CountedModel:
    """The classifier of a task; ``rows`` are the places in the batch of the images that are asked about.

    Attributes:
        forwards: (N,) forward passes per image of the batch, surrogates included.
        backwards: (N,) backward passes per image of the batch.
        random: whether the classifier has drawn from torch's global generators so far.
    """

    def __init__(self, task: AttackBatch) -> None:
        self._task = task
        known = task.labels if task.targets is None else torch.cat([task.labels, task.targets])
        self._least_classes = int(known.max()) + 1
        self.forwards = torch.zeros_like(task.labels)
        self.backwards = torch.zeros_like(task.labels)
        self.random = False

    def ask(
        self,
        points: Tensor,
        rows: Tensor,
        loss: Callable[[Tensor], Tensor] = _first_logit,
        *,
        exact: bool = False,
    ) -> Answer:
        """Return logits and losses; means over a random classifier's samples.

        Args:
            points: (n, C, H, W).
            rows: (n,).
            loss: of logits (n, K); (n,).
            exact: in fp32, even where the task searches in bf16.

        Raises:
            RobustlabError: what the classifier returns is no logits, or of too few classes.
        """
        half = self._task.half and not exact
        readings = [self._forward(points, rows, half=half) for _ in range(self._task.samples)]
        if len(readings) == 1:
            ((logits, valid),) = readings
            return Answer(logits, valid, loss(logits))
        # The class of a random classifier is the one of the highest mean probability: one lucky draw is no
        # success. Its loss is the mean of the losses, whose gradient is the expected gradient.
        chances = torch.stack([logits.softmax(dim=1) for logits, _ in readings]).mean(dim=0)
        return Answer(
            logits=chances.clamp(min=torch.finfo(chances.dtype).tiny).log(),
            valid=torch.stack([valid for _, valid in readings]).all(dim=0),
            losses=torch.stack([loss(logits) for logits, _ in readings]).mean(dim=0),
        )

    def gradient(self, total: Tensor, points: Tensor, rows: Tensor, *, again: bool = False) -> Tensor:
        """Return the gradient of a sum of answers; ``again``: another one of the same answers follows."""
        # An image may be there several times.
        self.backwards.index_add_(0, rows, torch.full_like(rows, self._task.samples))
        return slope(total, points, again=again).nan_to_num(0.0, 0.0, 0.0)

    def reached(self, answer: Answer, rows: Tensor) -> Tensor:
        """Tell where (n,) the goal is reached; no answer at all counts as a misclassification."""
        predictions = answer.logits.argmax(dim=1)
        if self._task.targets is not None:
            return answer.valid & (predictions == self._task.targets[rows])
        return ~answer.valid | (predictions != self._task.labels[rows])

    def _forward(self, points: Tensor, rows: Tensor, *, half: bool) -> tuple[Tensor, Tensor]:
        state = None if self.random else seeding.global_state(points.device)
        with torch.autocast(points.device.type, torch.bfloat16, enabled=half):
            logits = ask(self._task.model, points)
        if state is not None:
            self.random = not torch.equal(state, seeding.global_state(points.device))
        # An image may be there several times.
        self.forwards.index_add_(0, rows, torch.ones_like(rows))
        if not isinstance(logits, Tensor) or logits.ndim != 2 or len(logits) != len(points):
            found = tuple(logits.shape) if isinstance(logits, Tensor) else no_tensor(logits)
            raise RobustlabError(f"the model must return logits of shape (N, K), found {found}")
        check_classes(logits.shape[1], self._least_classes - 1, "labels and targets")
        return finite(logits)


def slope(total: Tensor, points: Tensor, *, again: bool = False) -> Tensor:
    """Return the gradient; zeros if the classifier cuts the path to its input, as a comparison does."""
    if not total.requires_grad:
        return torch.zeros_like(points)
    with calling("the model", " in its backward pass"):
        (found,) = torch.autograd.grad(total, points, retain_graph=again, allow_unused=True)
    return torch.zeros_like(points) if found is None else found
