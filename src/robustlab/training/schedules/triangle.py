"""One triangle, as one cycle of Smith 2017 (arXiv:1506.01186); Wong, Rice & Kolter 2020 use it."""

from typing import Annotated

from pydantic import Field

from robustlab.core.spec import register
from robustlab.training.schedules.base import Schedule


@register("triangle")
class Triangle(Schedule):
    """From 0 up to 1 at ``peak``, and back to 0; both linearly."""

    peak: Annotated[float, Field(gt=0.0, lt=1.0)] = 0.4
    """The share of the training at which the rate is highest."""

    def scale(self, progress: float) -> float:
        return min(progress / self.peak, (1 - progress) / (1 - self.peak))
