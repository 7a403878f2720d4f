"""Reports the progress of a search a few times a second."""

import time
from collections.abc import Callable

from torch import Tensor

OnPass = Callable[[float, int], None]
"""Called with the finished share of a batch's search, in [0, 1], and the number of its broken images."""

_OFTEN = 0.25
"""Seconds between two reports: each waits for the device."""


class ProgressReporter:
    """Reports the progress of one batch.

    Args:
        report: the function that receives the progress.
        passes: how many forward passes of an image a restart takes at most; None if unknown.
        restarts: how many restarts there are.
    """

    def __init__(self, report: OnPass, *, passes: int | None, restarts: int) -> None:
        self._report, self._passes, self._restarts = report, passes, restarts
        self._restart = self._before = 0
        self._told = time.monotonic()

    def begin(self, restart: int, forwards: Tensor) -> None:
        """Note that a restart begins, and which passes (N,) were spent before it."""
        self._restart, self._before = restart, int(forwards.max())

    def look(self, forwards: Tensor, broken: Tensor) -> None:
        """Report the progress, if the last report was long enough ago.

        Args:
            forwards: (N,) forward passes spent on each image of the batch.
            broken: (N,) whether each image is broken.
        """
        now = time.monotonic()
        if now - self._told < _OFTEN:
            return
        self._told = now
        spent = int(forwards.max()) - self._before
        part = min(1.0, spent / self._passes) if self._passes else 0.0
        self._report((self._restart + part) / self._restarts, int(broken.sum()))
