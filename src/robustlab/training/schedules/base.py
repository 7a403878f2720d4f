"""The base class of every learning-rate schedule."""

from abc import ABC, abstractmethod

from robustlab.core.spec import Unit


class Schedule(Unit, ABC):
    """The learning rate over a training, as a factor of the optimizer's."""

    kind = "schedule"
    example = "triangle(peak=0.4)"

    @abstractmethod
    def scale(self, progress: float) -> float:
        """Return the factor (not negative) after a share of the training, in [0, 1]."""
