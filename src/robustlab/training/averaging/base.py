"""What every weight averaging is."""

from abc import ABC, abstractmethod

from robustlab.core.spec import Unit


class Averaging(Unit, ABC):
    """How an average of the weights follows the training. The average is validated and kept; training goes
    on with the weights themselves.

    It begins as the weights before the first step. Floating-point buffers, such as the running mean and
    variance of batch normalisation, are averaged in the same way as the weights; others are copied.
    """

    kind = "averaging"
    example = "ema(decay=0.999)"

    @abstractmethod
    def kept(self, updates: int) -> float:
        """Return the share of the average, in [0, 1], that is kept where the newest weights come in.

        Args:
            updates: how many updates there were before.
        """
