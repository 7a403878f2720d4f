"""What every gradient estimator has."""

from abc import ABC, abstractmethod
from typing import ClassVar

from torch import Tensor

from robustlab.attacks.gradients.query import GradientQuery
from robustlab.attacks.query_result import QueryResult
from robustlab.core.spec import Unit


class Gradient(Unit, ABC):
    """How an attack gets its gradients: the argument ``gradient`` of every attack that follows them.

    The attack's search knows nothing of it: it asks its session, and the session asks the estimator.
    """

    kind = "gradient"
    example = "smoothed(draws=16)"
    needs_gradient: ClassVar[bool] = True
    """Whether it asks the attacked classifier for gradients; without it one that has none can be attacked."""
    asks_classifier: ClassVar[bool] = True
    """Whether it asks the attacked classifier at all. If not, `Session.gradient` shows it no point either."""
    small_differences: ClassVar[bool] = False
    """Whether it relies on differences so small that bf16 would lose them: then the search is in fp32."""

    @property
    def passes(self) -> int | None:
        """How many forward passes a gradient takes, with the answer at the point; None: unknown."""
        return 1

    @abstractmethod
    def estimate(self, query: GradientQuery) -> tuple[Tensor, QueryResult | None]:
        """Return the gradients (n, m, C, H, W) of the m values that the query is about.

        Returns:
            The gradients; and the classifier's answer at the points, if it was asked there anyway.
        """
