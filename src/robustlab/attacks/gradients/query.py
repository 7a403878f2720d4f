"""The query that a gradient estimator gets, and the functions it may call."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from robustlab.attacks.query_result import QueryResult

if TYPE_CHECKING:  # a session holds an estimator
    from robustlab.attacks.session import Objective, Session


class GradientQuery:
    """A request for the gradients of m values of each active image, at one point each.

    Without ``classes`` the value is the loss, and m is 1. With ``classes`` the values are their logits.

    Attributes:
        points: (n, C, H, W) where to compute the gradients, in [0, 1].
        model: the attacked classifier.
        surrogates: the other classifiers of `Attack.run`.
    """

    def __init__(
        self,
        session: Session,
        points: Tensor,
        loss: Objective,
        *,
        number: int,
        toward: Tensor | None = None,
        classes: Tensor | None = None,
    ) -> None:
        self.points = points.detach()
        self.model: nn.Module = session.model
        self.surrogates: Sequence[nn.Module] = session.surrogates
        self._session, self._loss, self._number = session, loss, number
        self._toward, self._classes = toward, classes

    @property
    def copies_at_once(self) -> int:
        """How many points per image fit into one pass of the batch's size."""
        # A function of the logits may use per-image data, in the images' order.
        return 1 if callable(self._loss) else self._session.copies_at_once

    def exact(
        self, points: Tensor | None = None, *, copies: int = 1, surrogate: nn.Module | None = None
    ) -> tuple[Tensor, QueryResult]:
        """Differentiate a classifier; one forward and m backward passes of each point.

        Args:
            points: (copies * n, C, H, W), copies of all images, one after the other; default: those of the
                query.
            copies: the number of points per image.
            surrogate: the classifier to use instead of the attacked one.

        Returns:
            Gradients (copies * n, m, C, H, W) and the answer.
        """
        leaf = (self.points if points is None else points).detach().requires_grad_()
        with self._session.repeated(copies):
            result = self._session.ask(
                leaf, self._loss, _repeated(self._toward, copies), gradient=True, surrogate=surrogate
            )
            totals = self._values(result, copies).sum(dim=0)
            last = len(totals) - 1
            gradients = [
                self._session.differentiate(total, leaf, again=k < last, surrogate=surrogate)
                for k, total in enumerate(totals)
            ]
        return gradients[0][:, None] if last == 0 else torch.stack(gradients, dim=1), result

    def values(self, points: Tensor) -> Tensor:
        """Return the values (k, n, m) at k points of each image (k, n, C, H, W); k forward passes of each."""
        parts = []
        for some in torch.split(points, self.copies_at_once):
            copies = len(some)
            with self._session.repeated(copies):
                result = self._session.ask(some.flatten(0, 1), self._loss, _repeated(self._toward, copies))
            values = self._values(result, copies)
            parts.append(values.view(copies, len(self.points), values.shape[1]))
        return torch.cat(parts)

    def normal(self, *purpose: object) -> Tensor:
        """Return standard normal numbers (n, C, H, W), different for each query and purpose."""
        first, *rest = purpose
        shape = tuple(self.points.shape[1:])
        return self._session.normal(first, self._number, *rest, shape=shape)

    def uniform(self, *purpose: object, shape: tuple[int, ...]) -> Tensor:
        """Return uniform numbers (n, *shape) in [0, 1), different for each query and purpose."""
        first, *rest = purpose
        return self._session.uniform(first, self._number, *rest, shape=shape)

    def _values(self, result: QueryResult, copies: int) -> Tensor:
        if self._classes is None:
            return result.losses[:, None]
        return result.logits.gather(1, self._classes.repeat(copies, 1))


def _repeated(toward: Tensor | None, copies: int) -> Tensor | None:
    return toward if toward is None or copies == 1 else toward.repeat(copies)
