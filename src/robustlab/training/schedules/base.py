"""What every learning-rate schedule is."""

from abc import ABC, abstractmethod

from robustlab.core.spec import Unit


class Schedule(Unit, ABC):
    """The learning rate over a training, as a factor of the optimizer's."""

    kind = "schedule"
    example = "triangle(peak=0.4)"

    @abstractmethod
    def scale(self, progress: float) -> float:
        """Return the factor (not negative) where a share of the training, in [0, 1], is done."""
