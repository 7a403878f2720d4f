"""Evaluates the classifier on a batch, and keeps its answers as results."""

from collections.abc import Callable, Sequence
from dataclasses import replace

import torch
from torch import Tensor, nn

from robustlab.attacks.active import ActiveSet
from robustlab.attacks.batch import AttackBatch
from robustlab.attacks.counted_model import CountedModel, Measure
from robustlab.attacks.losses import Loss
from robustlab.attacks.query_result import QueryResult
from robustlab.core.tolerance import with_tolerance

_ASKED_AGAIN = 10
"""How many times in a row a random classifier must confirm that the goal is reached."""

Objective = Loss | Callable[[Tensor], Tensor]
"""A loss by name, or a function of the logits (n, K) of the active images that returns (n,)."""


class ResultKeeper(ActiveSet):
    """The active images, the classifier, and its answers at the proposed points.

    Attributes:
        counted_model: the classifier, and the passes spent on each image of the batch.
    """

    def __init__(self, batch: AttackBatch) -> None:
        self.counted_model = CountedModel(batch)
        super().__init__(batch, self.counted_model.targets)

    @property
    def model(self) -> nn.Module:
        """The attacked classifier."""
        return self._batch.model

    @property
    def surrogates(self) -> Sequence[nn.Module]:
        """Other classifiers of the same kind."""
        return self._batch.surrogates

    # Evaluations

    def ask(
        self,
        points: Tensor,
        loss: Objective,
        toward: Tensor | None = None,
        *,
        gradient: bool = False,
        surrogate: nn.Module | None = None,
    ) -> QueryResult:
        """Evaluate the classifier, or a surrogate, and keep nothing; ``gradient``: make it differentiable."""
        measure = self._measure(loss, toward)
        with torch.set_grad_enabled(gradient):
            if surrogate is not None:
                return self.counted_model.ask_surrogate(surrogate, points, self.rows, measure)
            return self.counted_model.ask(points, self.rows, measure)

    def differentiate(
        self, total: Tensor, points: Tensor, *, again: bool = False, surrogate: nn.Module | None = None
    ) -> Tensor:
        """Return the gradient of a sum of answers; ``again``: another one of the same answers follows."""
        passes = self._batch.eot_samples if surrogate is None else 1
        return self.counted_model.gradient(total, points, self.rows, passes=passes, again=again)

    def _measure(self, loss: Objective, toward: Tensor | None = None) -> Measure:
        if callable(loss):
            return lambda seen: loss(seen.logits)
        return lambda seen: self._batch.criterion.loss(loss, seen, toward)

    # Results

    def keep(
        self,
        points: Tensor,
        result: QueryResult,
        measured: Objective | None,
        *,
        propose: bool,
        gradient: Tensor | None = None,
    ) -> QueryResult:
        """Return the answer at the points, and keep the points if they are proposed.

        Args:
            points: (n, C, H, W).
            result: the classifier's answer at the points.
            measured: the name of its losses; None: a loss that does not compare points.
            propose: whether the points count as results.
            gradient: (n, C, H, W) to return with it.
        """
        logits, losses, reached = result.logits.detach(), result.losses.detach(), result.reached
        if propose:
            # An attack may follow several losses; its points are compared by one.
            scores, selection_loss = losses, self._batch.selection_loss
            if measured != selection_loss and not self._batch.minimum_norm:
                scores = self.measure(selection_loss, points, result)
            reached = self._keep_copies(points, scores, reached)
        if self._batch.reporter is not None:
            self._batch.reporter.look(self.counted_model.forwards, self.best_so_far.broken)
        return replace(result, logits=logits, losses=losses, reached=reached, gradient=gradient)

    def measure(self, loss: Loss, points: Tensor, result: QueryResult) -> Tensor:
        """Return a loss (n,) of an answer that was computed before."""
        seen = self.counted_model.observation(points, result.logits.detach(), result.valid, self.rows)
        return self._measure(loss)(seen)

    @torch.no_grad()
    def _keep_copies(self, points: Tensor, scores: Tensor, reached: Tensor) -> Tensor:
        """Keep the best of each image's points, if it is active several times; otherwise as `_keep`."""
        copies, rows, batch = self._copies, self.rows, self._batch
        if copies == 1:
            return self._keep(points, scores, reached)
        self._activate(rows[: len(rows) // copies])
        if self.unsure or batch.quantize is not None or batch.minimum_norm:
            # Each success has to be confirmed, or each distance to be measured.
            parts = zip(points.chunk(copies), scores.chunk(copies), reached.chunk(copies), strict=True)
            reached = torch.cat([self._keep(*part) for part in parts])
        else:
            tried, found = scores.view(copies, -1), reached.view(copies, -1)
            if self.early_stop:  # after the first success of an image nothing counts
                ranked = torch.where(found, torch.inf, tried)
            else:
                ranked = torch.where(found | ~found.any(dim=0), tried, -torch.inf)
            best = ranked.argmax(dim=0) * len(self.rows) + torch.arange(len(self.rows), device=rows.device)
            self._keep(points[best], scores[best], reached[best])
        self._activate(rows)
        return reached

    @torch.no_grad()
    def _keep(self, points: Tensor, scores: Tensor, reached: Tensor) -> Tensor:
        """Keep the points where they are better, and return (n,) where the goal is confirmed."""
        rows, batch, counts = self.rows, self._batch, ~self.closed
        if batch.minimum_norm:
            distances = self.threat.distance(points, self.clean)
            counts &= distances <= with_tolerance(self.eps)
        if batch.quantize is not None:
            points, reached = self.confirmed(points, reached, reached & counts)
        elif self.unsure:
            first = batch.minimum_norm | ~self.best_so_far.broken[rows]
            points, reached = self.confirmed(points, reached, reached & counts & first)
        if batch.minimum_norm:
            scores = -self.threat.distance(points, self.clean)
        self.best_so_far.keep(rows, points, scores, reached & counts, counts, self.restart)
        return reached

    # Confirmation

    @property
    def unsure(self) -> bool:
        """Whether a second evaluation of a success may fail."""
        return self._batch.bf16 or self.counted_model.random

    def confirmed(self, points: Tensor, reached: Tensor, asked: Tensor) -> tuple[Tensor, Tensor]:
        """Evaluate points that reached the goal again, as stored images in fp32.

        A random classifier is evaluated several times. Otherwise one lucky sample would end the attack on an
        image, which could count as robust in the end.

        Returns:
            The points, the confirmed ones as stored images; (n,) where the goal is reached.
        """
        places = asked.nonzero().squeeze(1)
        if self._batch.quantize is not None and len(places):
            real = self._batch.quantize(points[places], self.clean[places], self.eps[places])
            points = points.index_copy(0, places, real)
        for _ in range(_ASKED_AGAIN if self.counted_model.random else 1):
            if len(places) == 0:
                break
            again = self.counted_model.ask(points[places], self.rows[places], exact=True).reached
            reached = reached.scatter(0, places, again)
            places = places[again]
        return points, reached

    @torch.no_grad()
    def verify(self) -> tuple[Tensor, Tensor, Tensor]:
        """Evaluate the best points again, in fp32 on the whole batch.

        Returns:
            Predictions, -1 where the answer is invalid, as `core.logits` explains; their confidences; where
            the goal is reached. All (N,).
        """
        batch, best_so_far = self._batch, self.best_so_far
        if batch.quantize is not None:
            rest = (~best_so_far.broken).nonzero().squeeze(1)
            best_so_far.best[rest] = batch.quantize(
                best_so_far.best[rest], batch.images[rest], batch.eps[rest]
            )
        verified = self._verified(self.everyone)
        failed = (best_so_far.broken & ~verified[2]).nonzero().squeeze(1)
        if len(failed) and best_so_far.fall_back(failed):
            for whole, part in zip(verified, self._verified(failed), strict=True):
                whole[failed] = part
        return verified

    def _verified(self, rows: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        result = self.counted_model.ask(self.best_so_far.best[rows], rows, exact=True)
        predictions = result.logits.argmax(dim=1)
        confidences = result.logits.softmax(dim=1).gather(1, predictions[:, None]).squeeze(1)
        predictions = torch.where(result.valid, predictions, -1)
        return predictions, torch.where(result.valid, confidences, 0.0), result.reached
