"""The exponential moving average of the weights (Polyak & Juditsky 1992, in the form that TensorFlow has)."""

from typing import Annotated

from pydantic import Field

from robustlab.core.spec import register
from robustlab.training.averaging.base import Averaging


@register("ema")
class EMA(Averaging):
    """average = kept * average + (1 - kept) * weights, after each step, with kept = ``decay`` in the end.

    After n earlier steps kept is at most (1 + n) / (10 + n), so that the first weights have little influence
    even in a short training.
    """

    decay: Annotated[float, Field(ge=0.0, lt=1.0)] = 0.999
    """The share of the average that a step keeps."""

    def kept(self, updates: int) -> float:
        return min(self.decay, (1 + updates) / (10 + updates))
