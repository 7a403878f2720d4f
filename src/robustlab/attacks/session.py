"""The interface of an attack to its batch."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor

from robustlab.attacks.batch import AttackBatch
from robustlab.attacks.gradients import Gradient, GradientQuery
from robustlab.attacks.keeping import Objective, ResultKeeper
from robustlab.attacks.losses import Loss
from robustlab.attacks.query_result import QueryResult

__all__ = ["Objective", "Session"]


class Session(ResultKeeper):
    """The interface of an attack to its batch: the active images, and the functions to evaluate them."""

    def __init__(self, batch: AttackBatch) -> None:
        super().__init__(batch)
        self._clean: QueryResult | None = None
        self._estimator, self._estimates = batch.gradient, 0

    def start(self) -> None:
        """With early stop, drop the images that reach the attacker's goal as they are.

        An attack that looks for the nearest success drops them in max-loss mode too: their distance is 0.
        """
        if self.early_stop or self._batch.minimum_norm:
            with self._all_active():
                clean = self._clean = self.query(self.clean, propose=not self.early_stop)
                reached = clean.reached
                if self.unsure:
                    reached = self.confirmed(self.clean, reached, reached)[1]
                self.best_so_far.broken |= reached

    def begin(self, restart: int) -> None:
        super().begin(restart)
        self._estimates = 0

    @property
    def clean_logits(self) -> Tensor:
        """(n, K) the classifier's logits on the clean images; one forward pass on the first call."""
        return self._clean_result().logits[self.rows]

    def clean_loss(self, loss: Loss) -> Tensor:
        """Return a loss (n,) of the clean images; one forward pass on the first call."""
        with self._all_active():
            losses = self.measure(loss, self.clean, self._clean_result())
        return losses[self.rows]

    def _clean_result(self) -> QueryResult:
        if self._clean is None:
            with self._all_active():
                self._clean = self.query(self.clean, propose=False)
        return self._clean

    @property
    def any_rival(self) -> bool:
        """Whether the goal is reached as soon as any class lies above the label."""
        return self._batch.criterion.any_rival

    # Gradients

    @contextmanager
    def estimating(self, gradient: Gradient) -> Iterator[None]:
        """Use another gradient estimator inside the block."""
        before = self._estimator, self._estimates
        self._estimator, self._estimates = gradient, 0
        try:
            yield
        finally:
            self._estimator, self._estimates = before

    def gradient(self, points: Tensor, loss: Objective = "cross_entropy", *, propose: bool = True) -> Tensor:
        """Return the gradient of the loss at allowed points; exact: one forward and one backward pass.

        If the estimator evaluates only other classifiers, no pass of the attacked one is spent. The points
        then don't count as results; they don't without ``propose`` either.
        """
        gradients, result = self._estimate(GradientQuery(self, points, loss, number=self._estimates))
        if result is None and propose and self._estimator.asks_classifier:
            result = self.ask(points.detach(), loss)
        if result is not None:
            self.keep(points.detach(), result, loss, propose=propose)
        return gradients[:, 0]

    def jacobian(self, points: Tensor, classes: Tensor) -> tuple[QueryResult, Tensor]:
        """Evaluate points like `query`, with the gradients (n, k, C, H, W) of the logits of (n, k) classes.

        With exact gradients: one forward and k backward passes.
        """
        points = points.detach()
        wanted = GradientQuery(self, points, "margin", number=self._estimates, classes=classes)
        gradients, result = self._estimate(wanted)
        if result is None:
            result = self.ask(points, "margin")
        return self.keep(points, result, "margin", propose=True), gradients

    def _estimate(self, wanted: GradientQuery) -> tuple[Tensor, QueryResult | None]:
        self._estimates += 1
        return self._estimator.estimate(wanted)

    # Points

    def propose(self, points: Tensor, loss: Loss = "cross_entropy") -> QueryResult:
        """Evaluate the projected points as results; one forward pass."""
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
        """Evaluate points; one forward pass, and with a gradient the estimator's (exact: one backward).

        Args:
            points: (n, C, H, W), one per active image, in [0, 1]; allowed by the threat model, unless the
                attack looks for the nearest success.
            loss: the loss: a name, or a function of the logits (n, K) that returns (n,).
            toward: (n,) classes to move towards if the attacker has no target class: the ``rivals`` of
                `Criterion.loss`.
            gradient: whether to return the gradient of the loss.
            propose: whether the points count as results.
        """
        points, ascent, result = points.detach(), None, None
        if gradient:
            wanted = GradientQuery(self, points, loss, number=self._estimates, toward=toward)
            gradients, result = self._estimate(wanted)
            ascent = gradients[:, 0]
        if result is None:
            result = self.ask(points, loss, toward)
        measured = loss if toward is None else None
        return self.keep(points, result, measured, propose=propose, gradient=ascent)

    def query_many(
        self, points: Tensor, loss: Loss = "cross_entropy", *, propose: bool = True
    ) -> QueryResult:
        """Evaluate k points per active image, without a gradient; k forward passes of each image.

        Points share passes: a pass is as large as the batch even if few images are active, and never larger.

        Args:
            points: (k, n, C, H, W), otherwise as for `query`.
            loss: the loss to measure.
            propose: whether the points count as results.

        Returns:
            A result whose tensors are (k, n, ...).
        """
        results = []
        for some in torch.split(points, self.copies_at_once):
            with self.repeated(len(some)):
                results.append(self.query(some.flatten(0, 1), loss, propose=propose))
        shape = points.shape[:2]
        return QueryResult(
            logits=torch.cat([result.logits for result in results]).view(*shape, -1),
            valid=torch.cat([result.valid for result in results]).view(shape),
            losses=torch.cat([result.losses for result in results]).view(shape),
            reached=torch.cat([result.reached for result in results]).view(shape),
        )

    @contextmanager
    def _all_active(self) -> Iterator[None]:
        rows = self.rows
        self._activate(self.everyone)
        yield
        self._activate(rows)
