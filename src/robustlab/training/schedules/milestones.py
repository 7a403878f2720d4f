"""A learning rate that drops at given points."""

from typing import Annotated

from pydantic import Field

from robustlab.core.spec import register
from robustlab.training.schedules.base import Schedule


@register("milestones")
class Milestones(Schedule):
    """1 at the start, multiplied by ``factor`` at each of the points."""

    at: tuple[Annotated[float, Field(gt=0.0, lt=1.0)], ...] = (0.5, 0.75)
    """The points, as shares of the training in [0, 1]."""
    factor: Annotated[float, Field(gt=0.0)] = 0.1
    """The factor of the rate at each point."""

    def scale(self, progress: float) -> float:
        return float(self.factor ** sum(progress >= point for point in self.at))
