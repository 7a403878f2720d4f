"""A learning rate that drops at given points."""

from typing import Annotated

from pydantic import Field

from robustlab.core.spec import register
from robustlab.training.schedules.base import Schedule


@register("milestones")
class Milestones(Schedule):
    """1 in the beginning, times ``factor`` at each of the points."""

    at: tuple[Annotated[float, Field(gt=0.0, lt=1.0)], ...] = (0.5, 0.75)
    """Shares of the training."""
    factor: Annotated[float, Field(gt=0.0)] = 0.1
    """What the rate is multiplied by."""

    def scale(self, progress: float) -> float:
        return float(self.factor ** sum(progress >= point for point in self.at))
