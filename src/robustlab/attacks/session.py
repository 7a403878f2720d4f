"""One attack on one batch, as the attack sees it."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor

from robustlab.attacks import losses
from robustlab.attacks.active import ActiveSet
from robustlab.attacks.batch import AttackBatch
from robustlab.attacks.counted_model import Answer, CountedModel, QueryResult, slope
from robustlab.attacks.losses import Loss
from robustlab.core.calling import ask
from robustlab.core.errors import RobustlabError
from robustlab.core.logits import finite
from robustlab.threats import allowance

_ASKED_AGAIN = 10
"""How often a random classifier must repeat that the goal is reached."""

Objective = Loss | Callable[[Tensor], Tensor]
"""A loss by name, or a function of the logits (n, K) of the active images that returns (n,)."""


class Session(ActiveSet):
    """The view an attack has of its task: the images that are still active, and what it may ask about them.

    Attributes:
        oracle: the classifier, and the passes spent on each image of the batch.
    """

    def __init__(self, task: AttackBatch) -> None:
        super().__init__(task)
        self.oracle = CountedModel(task)
        self._clean_logits: Tensor | None = None
        self._nearby: tuple[int, float] | None = None
        self._smoothed = 0

    @property
    def clean_logits(self) -> Tensor:
        """(n, K) the classifier's logits on the clean images; one forward pass when first asked for."""
        if self._clean_logits is None:
            rows = self._rows
            self._activate(self._everyone())
            self._clean_logits = self.query(self.clean, propose=False).logits
            self._activate(rows)
        return self._clean_logits[self._rows]

    def start(self) -> None:
        """In verdict mode, set aside the images that are as the attacker wishes already.

        An attack that looks for the nearest success learns of them in max-loss mode too: their distance is 0.
        """
        if self.verdict or self._task.minimal_norm:
            reading = self.query(self.clean, propose=not self.verdict)
            self._clean_logits = reading.logits
            reached = reading.reached
            if self._unsure:
                reached = self._confirmed(self.clean, reached, reached)[1]
            self.record.broken |= reached

    @contextmanager
    def smoothing(self, draws: int, std: float) -> Iterator[None]:
        """Inside the block a gradient is the mean of those at points nearby; one more forward pass.

        Args:
            draws: how many points; as many forward and backward passes for each gradient.
            std: standard deviation of the noise that leads to them, in pixel units.
        """
        before, self._nearby, self._smoothed = self._nearby, (draws, std), 0
        try:
            yield
        finally:
            self._nearby = before

    # The classifier

    def gradient(
        self,
        points: Tensor,
        loss: Objective = "cross_entropy",
        *,
        propose: bool = True,
    ) -> Tensor:
        """Return the gradient of the loss at allowed points; one forward and one backward pass."""
        return self.query(points, loss, gradient=True, propose=propose).ascent

    def propose(self, points: Tensor, loss: Loss = "cross_entropy") -> QueryResult:
        """Measure the points, projected onto the threat model, as results; one forward pass."""
        return self.query(self.project(points), loss)

    def query(
        self,
        points: Tensor,
        loss: Objective = "cross_entropy",
        *,
        toward: Tensor | None = None,
        gradient: bool = False,
        propose: bool = True,
    ) -> QueryResult:
        """Measure points; one forward pass, with the gradient one backward pass too.

        Args:
            points: (n, C, H, W), one per active image, in [0, 1]; allowed by the threat model unless the
                attack looks for the nearest image.
            loss: what to measure: a name, or a function of the logits (n, K) that returns (n,).
            toward: (n,) classes to move towards where the attacker wants no certain one: the ``rivals`` of
                `losses.measure`.
            gradient: whether to return the gradient of the loss.
            propose: whether the points count as results.
        """

        def ask(at: Tensor, times: int) -> tuple[Answer, Tensor]:
            at = at.detach().requires_grad_()
            goal = None if toward is None else toward.repeat(times)
            answer = self._ask(at, loss, goal, gradient=True)
            return answer, self.oracle.gradient(answer.losses.sum(), at, self._rows)

        points, ascent = points.detach(), None
        if not gradient:
            answer = self._ask(points, loss, toward)
        elif self._nearby is None:
            answer, ascent = ask(points, 1)
        else:
            # A function of the logits may hold something of each image, in their order.
            ascent = self._mean_nearby(ask, points, alone=callable(loss))
            answer = self._ask(points, loss, toward)
        measured = loss if toward is None else None
        return self._read(points, answer, measured, gradient=ascent, propose=propose)

    def query_many(
        self, points: Tensor, loss: Loss = "cross_entropy", *, propose: bool = True
    ) -> QueryResult:
        """Measure k points per active image, without a gradient; k forward passes of each image.

        However few images are active, a pass is as large as the batch, and never larger.

        Args:
            points: (k, n, C, H, W), otherwise as for `query`.
            loss: what to measure.
            propose: whether the points count as results.

        Returns:
            A reading whose tensors are (k, n, ...).
        """
        rows, parts = self._rows, []
        for some in torch.split(points, max(1, len(self._task.labels) // len(rows))):
            self._activate(rows.repeat(len(some)))
            answer = self._ask(some.flatten(0, 1), loss)
            parts.append((answer.logits, answer.valid, answer.losses))
        self._activate(rows)
        count = len(points)
        logits, valid, values = (
            torch.cat(part).view(count, len(rows), *part[0].shape[1:]) for part in zip(*parts, strict=True)
        )
        # One by one, as if they had been asked about so.
        readings = [
            self._read(points[k], Answer(logits[k], valid[k], values[k]), loss, propose=propose)
            for k in range(count)
        ]
        return QueryResult(
            logits=logits,
            valid=valid,
            losses=torch.stack([reading.losses for reading in readings]),
            reached=torch.stack([reading.reached for reading in readings]),
        )

    def jacobian(self, points: Tensor, classes: Tensor) -> tuple[QueryResult, Tensor]:
        """Measure points as `query` does, with the gradients (n, k, C, H, W) of the logits of (n, k) classes.

        One forward and k backward passes.
        """

        def ask(at: Tensor, times: int) -> tuple[Answer, Tensor]:
            at = at.detach().requires_grad_()
            answer = self._ask(at, "margin", gradient=True)
            picked = answer.logits.gather(1, classes.repeat(times, 1)).sum(dim=0)
            last = len(picked) - 1
            gradients = [
                self.oracle.gradient(total, at, self._rows, again=k < last) for k, total in enumerate(picked)
            ]
            return answer, torch.stack(gradients, dim=1)

        points = points.detach()
        if self._nearby is None:
            answer, gradients = ask(points, 1)
        else:
            gradients = self._mean_nearby(ask, points)
            answer = self._ask(points, "margin")
        return self._read(points, answer, "margin", propose=True), gradients

    def surrogate_gradient(self, points: Tensor, loss: Loss = "cross_entropy") -> Tensor:
        """Return the gradient of the loss summed over the surrogates; one pass each way per surrogate.

        Raises:
            RobustlabError: there are no surrogates.
        """
        if not self._task.surrogates:
            raise RobustlabError("an attack that transfers needs --surrogate, or surrogates=[...]")
        points = points.detach().requires_grad_()
        values = [
            losses.measure(loss, finite(ask(model, points))[0], self.labels, self.targets)
            for model in self._task.surrogates
        ]
        self.oracle.forwards[self._rows] += len(values)
        self.oracle.backwards[self._rows] += len(values)
        return slope(torch.stack(values).sum(), points).nan_to_num(0.0, 0.0, 0.0)

    # The end, and what all of the above rests on

    @torch.no_grad()
    def verify(self) -> tuple[Tensor, Tensor]:
        """Return predictions and confidences of the best points, computed afresh in fp32 on the whole batch.

        The prediction is -1 where the classifier gives no answer, as `core.logits` explains.
        """
        everyone, task = self._everyone(), self._task
        if task.realise is not None:
            rest = (~self.record.broken).nonzero().squeeze(1)
            best = self.record.best[rest]
            self.record.best[rest] = task.realise(best, task.images[rest], task.eps[rest])
        predictions, confidences, reached = self._verified(everyone)
        failed = (self.record.broken & ~reached).nonzero().squeeze(1)
        if len(failed) and self.record.fall_back(failed):
            predictions[failed], confidences[failed], _ = self._verified(failed)
        return predictions, confidences

    def _verified(self, rows: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        answer = self.oracle.ask(self.record.best[rows], rows, exact=True)
        confidences, predictions = answer.logits.softmax(dim=1).max(dim=1)
        predictions = torch.where(answer.valid, predictions, -1)
        return predictions, torch.where(answer.valid, confidences, 0.0), self.oracle.reached(answer, rows)

    def _mean_nearby(
        self, ask: Callable[[Tensor, int], tuple[Answer, Tensor]], points: Tensor, *, alone: bool = False
    ) -> Tensor:
        """Return the mean of the gradients at points nearby, as `smoothing` wants it.

        However few images are active, a pass is as large as the batch, and never larger.

        Args:
            ask: gives, with the answer, the gradients (k * n, ...) at k points of each active image, and k.
            points: (n, C, H, W).
            alone: whether one point of each image is all that can be asked about at once.
        """
        if self._nearby is None:
            raise ValueError("gradients are not smoothed here")
        (draws, std), rows = self._nearby, self._rows
        shape, number = tuple(points.shape[1:]), self._smoothed
        self._smoothed += 1
        at_once = 1 if alone else max(1, len(self._task.labels) // len(rows))
        total: Tensor | float = 0.0
        for some in torch.split(torch.arange(draws), at_once):
            noise = [self.normal("nearby", number, int(draw), shape=shape) for draw in some]
            self._activate(rows.repeat(len(some)))
            around = torch.cat([(points + std * one).clamp(0, 1) for one in noise])
            found = ask(around, len(some))[1]
            self._activate(rows)
            for one in found.chunk(len(some)):  # in this order whatever the batch
                total = total + one / draws
        return torch.as_tensor(total)

    def _ask(
        self, points: Tensor, loss: Objective, toward: Tensor | None = None, *, gradient: bool = False
    ) -> Answer:
        with torch.set_grad_enabled(gradient):
            return self.oracle.ask(points, self._rows, lambda logits: self._loss(logits, loss, toward))

    def _loss(self, logits: Tensor, loss: Objective, toward: Tensor | None = None) -> Tensor:
        if callable(loss):
            return loss(logits)
        rivals = toward if self.targets is None else None
        return losses.measure(loss, logits, self.labels, self.targets, rivals=rivals)

    def _read(
        self,
        points: Tensor,
        answer: Answer,
        measured: Objective | None,
        *,
        propose: bool,
        gradient: Tensor | None = None,
    ) -> QueryResult:
        """Return what an answer says, and keep the points; ``measured``: what its losses are."""
        logits, values = answer.logits.detach(), self._counted(answer.losses.detach(), answer.valid)
        reached = self.oracle.reached(answer, self._rows)
        if propose:
            # An attack may follow several losses; its points compare by one.
            scores, yardstick = values, self._task.yardstick
            if measured != yardstick and not self._task.minimal_norm:
                scores = self._counted(self._loss(logits, yardstick), answer.valid)
            reached = self._keep(points, scores, reached)
        if self._task.watch is not None:
            self._task.watch.look(self.oracle.forwards, self.record.broken)
        return QueryResult(
            logits=logits, valid=answer.valid, losses=values, reached=reached, gradient=gradient
        )

    def _counted(self, values: Tensor, valid: Tensor) -> Tensor:
        # No answer is not the target.
        return values if self.targets is None else torch.where(valid, values, -torch.inf)

    @torch.no_grad()
    def _keep(self, points: Tensor, scores: Tensor, reached: Tensor) -> Tensor:
        """Keep the points where they are better, and return (n,) where the goal is reached after all."""
        rows, task, counts = self._rows, self._task, ~self.closed
        if task.minimal_norm:
            distances = self.threat.distance(points, self.clean)
            counts &= distances <= allowance(self.eps)
        if task.realise is not None:
            points, reached = self._confirmed(points, reached, reached & counts)
        elif self._unsure:
            first = task.minimal_norm | ~self.record.broken[rows]
            points, reached = self._confirmed(points, reached, reached & counts & first)
        if task.minimal_norm:
            scores = -self.threat.distance(points, self.clean)
        self.record.keep(rows, points, scores, reached & counts, counts, self.restart)
        return reached

    @property
    def _unsure(self) -> bool:
        """Whether a success may be none when the classifier is asked once more."""
        return self._task.half or self.oracle.random

    def _confirmed(self, points: Tensor, reached: Tensor, asked: Tensor) -> tuple[Tensor, Tensor]:
        """Ask again about points that reached the goal, as they would count: real images, in fp32.

        A random classifier is asked several times: an image that left at a lucky draw would not be attacked
        any more, and would in the end count as robust.

        Returns:
            The points, those that were asked about as real images; where the goal is reached.
        """
        places = asked.nonzero().squeeze(1)
        if self._task.realise is not None and len(places):
            real = self._task.realise(points[places], self.clean[places], self.eps[places])
            points = points.index_copy(0, places, real)
        for _ in range(_ASKED_AGAIN if self.oracle.random else 1):
            if len(places) == 0:
                break
            rows = self._rows[places]
            again = self.oracle.reached(self.oracle.ask(points[places], rows, exact=True), rows)
            reached = reached.scatter(0, places, again)
            places = places[again]
        return points, reached
