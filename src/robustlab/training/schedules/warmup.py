"""A linear warm-up before another schedule (Goyal et al. 2017, arXiv:1706.02677)."""

from typing import Annotated

from pydantic import Field

from robustlab.core.spec import register
from robustlab.training.schedules.base import Schedule
from robustlab.training.schedules.constant import Constant


@register("warmup")
class Warmup(Schedule):
    """Linear from 0 to the start of another schedule, which takes the rest of the training."""

    share: Annotated[float, Field(gt=0.0, lt=1.0)] = 0.1
    """The share of the training for the warm-up."""
    then: Schedule = Constant()
    """The schedule that follows."""

    def scale(self, progress: float) -> float:
        if progress < self.share:
            return progress / self.share * self.then.scale(0.0)
        return self.then.scale((progress - self.share) / (1 - self.share))
