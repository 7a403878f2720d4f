"""The base class of every gradient estimator."""

from abc import ABC, abstractmethod
from typing import ClassVar

from torch import Tensor

from robustlab.attacks.gradients.query import GradientQuery
from robustlab.attacks.query_result import QueryResult
from robustlab.core.spec import Unit


class Gradient(Unit, ABC):
    """How an attack gets its gradients: the argument ``gradient`` of every attack that follows them.

    The attack's search calls its session, and the session calls the estimator.
    """

    kind = "gradient"
    example = "smoothed(draws=16)"
    needs_gradient: ClassVar[bool] = True
    """Whether it needs gradients of the attacked classifier; if not, it also works on a classifier without
    gradients."""
    asks_classifier: ClassVar[bool] = True
    """Whether it evaluates the attacked classifier at all. If not, `Session.gradient` does not evaluate it
    either."""
    small_differences: ClassVar[bool] = False
    """Whether it relies on differences that bf16 would round off; if so, the search is in fp32."""

    @property
    def passes(self) -> int | None:
        """How many forward passes a gradient takes, including the answer at the point; None: unknown."""
        return 1

    @abstractmethod
    def estimate(self, query: GradientQuery) -> tuple[Tensor, QueryResult | None]:
        """Return the gradients (n, m, C, H, W) of the query's m values.

        Returns:
            The gradients; and the classifier's answer at the points, if the estimator evaluated it there.
        """
