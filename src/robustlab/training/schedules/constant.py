"""The same learning rate throughout."""

from robustlab.core.spec import register
from robustlab.training.schedules.base import Schedule


@register("constant")
class Constant(Schedule):
    """Always 1."""

    def scale(self, progress: float) -> float:
        del progress
        return 1.0
