"""The classifier's own gradient."""

from torch import Tensor

from robustlab.attacks.gradients.base import Gradient
from robustlab.attacks.gradients.query import GradientQuery
from robustlab.attacks.query_result import QueryResult
from robustlab.core.spec import register


@register("exact")
class ExactGradient(Gradient):
    """The classifier's own gradient at the point: one forward and one backward pass."""

    def estimate(self, query: GradientQuery) -> tuple[Tensor, QueryResult]:
        return query.exact()
