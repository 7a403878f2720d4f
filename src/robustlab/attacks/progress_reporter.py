"""Reports, a few times a second, how far a search has come."""

import time
from collections.abc import Callable

from torch import Tensor

OnPass = Callable[[float, int], None]
"""Called with the share of a batch's search that is done, and the number of its images that are broken."""

_OFTEN = 0.25
"""Seconds between two looks: each waits for the device."""


class ProgressReporter:
    """Watches the passes of one batch.

    Args:
        report: the function that receives the progress.
        passes: how many forward passes of an image a restart takes at most; None where that isn't known.
        restarts: how many there are.
    """

    def __init__(self, report: OnPass, *, passes: int | None, restarts: int) -> None:
        self._report, self._passes, self._restarts = report, passes, restarts
        self._restart = self._before = 0
        self._told = time.monotonic()

    def begin(self, restart: int, forwards: Tensor) -> None:
        """Learn that a restart begins, and which passes (N,) were spent before it."""
        self._restart, self._before = restart, int(forwards.max())

    def look(self, forwards: Tensor, broken: Tensor) -> None:
        """Report the progress, if the last report was long enough ago.

        Args:
            forwards: (N,) passes spent on each image of the batch.
            broken: (N,) whether it is broken.
        """
        now = time.monotonic()
        if now - self._told < _OFTEN:
            return
        self._told = now
        spent = int(forwards.max()) - self._before
        part = min(1.0, spent / self._passes) if self._passes else 0.0
        self._report((self._restart + part) / self._restarts, int(broken.sum()))
