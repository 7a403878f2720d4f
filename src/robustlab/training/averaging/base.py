"""The base class of every weight averaging."""

from abc import ABC, abstractmethod

from robustlab.core.spec import Unit


class Averaging(Unit, ABC):
    """An average of the weights over the training, which is validated and kept.

    The training itself continues with the weights. The average starts with the weights before the first step.
    Floating-point buffers, such as the running mean and variance of batch normalisation, are averaged in the
    same way as the weights; others are copied.
    """

    kind = "averaging"
    example = "ema(decay=0.999)"

    @abstractmethod
    def kept(self, updates: int) -> float:
        """Return the share of the average, in [0, 1], that is kept when the newest weights are added.

        Args:
            updates: how many updates there were before.
        """
