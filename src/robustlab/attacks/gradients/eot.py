"""Expectation over transformation (Athalye et al. 2018, arXiv:1707.07397)."""

from typing import Annotated

from pydantic import Field
from torch import Tensor

from robustlab.attacks.gradients.base import Gradient
from robustlab.attacks.gradients.query import GradientQuery
from robustlab.attacks.query_result import QueryResult
from robustlab.core.arguments import MAX_SAMPLES
from robustlab.core.spec import register


@register("eot")
class EOTGradient(Gradient):
    """The mean gradient of several samples of a random classifier, each one forward and one backward pass.

    It averages only gradients. The ``eot_samples`` of `Attack.run` decide which class a random classifier
    gives, and whether it is a success. The attack gets the answer of the first sample.
    """

    samples: Annotated[int, Field(ge=1, le=MAX_SAMPLES)] = 20
    """Samples for each gradient."""

    @property
    def passes(self) -> int:
        return self.samples

    def estimate(self, query: GradientQuery) -> tuple[Tensor, QueryResult]:
        gradient, result = query.exact()
        total = gradient / self.samples
        for _ in range(self.samples - 1):
            total = total + query.exact()[0] / self.samples
        return total, result
