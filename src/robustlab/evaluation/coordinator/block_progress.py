"""Reports the progress of a stage within a block: images done, and the robust accuracy so far."""

from robustlab.core.progress import Task
from robustlab.evaluation.metrics import percent


class BlockProgress:
    """Moves a bar through one block of images.

    Args:
        bar: the progress bar of the stage.
        size: the number of images in the block.
        survivors: the number of unbroken images when the block begins; None if the stage is not an attack.
        n: the number of images of the evaluation.
    """

    def __init__(self, bar: Task, size: int, survivors: int | None, n: int) -> None:
        self._bar, self._size, self._survivors, self._n = bar, size, survivors, n
        self._done = 0.0

    def __call__(self, share: float, broken: int) -> None:
        """Report a share of the block's work, and how many of its images are broken."""
        done = max(self._done, share * self._size)
        self._bar.advance(done - self._done)
        self._done = done
        if self._survivors is not None:
            self._bar.show(f"robust so far {percent((self._survivors - broken) / self._n)}")
