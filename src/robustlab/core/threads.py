"""How many threads torch computes with: the number that is the fastest now, found by timing the work itself.

Threads wait for each other at the end of every operation. Beside another process that needs a core, two of
them may take three times as long as one (LOG.md, "Threads by measurement").
"""

import math
import os
import threading
import time
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from statistics import median

import torch
from torch import Tensor

from robustlab.core.errors import SetupError
from robustlab.core.text import shown

VARIABLE = "ROBUSTLAB_THREADS"
"""The environment variable that fixes the number of threads, with the value ``fixed``."""

THREADS_USED = "threads_used"
"""The name of the seconds for each number of threads in the record of a stage."""

_PIECES, _ENOUGH = 5, 0.2
"""A trial gives each number of threads so many pieces of work, or fewer that take so many seconds."""

_FEWER, _LONGEST = 4, 1.0
"""A number below the best one's part of so much is tried if a piece can't take more seconds than this."""

_BETWEEN, _COST = 1.0, 0.03
"""Seconds of work from one trial to the next at least; the share of all time that trials may cost."""

_SLOWER = 3.0
"""The next trial comes at once when pieces take so many times as long as in the last one."""


class ThreadChooser:
    """Chooses the number of threads for pieces of work, such as passes and training steps.

    Outside of pieces torch has the number of threads that the caller or a user's code has set. It is the
    largest number for the pieces.

    Args:
        clock: returns the time in seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.perf_counter) -> None:
        self.counters: list[dict[int, float]] = []
        self._clock, self._most = clock, 0
        self._choices: dict[Hashable, _Choice] = {}
        self._known: dict[tuple[int, ...], int | None] = {}
        self._piece: tuple[_Choice, int, float] | None = None

    def begin(self, kind: Hashable) -> None:
        """End the piece before and begin another one; pieces of a kind take about the same time."""
        self.end()
        self._most = torch.get_num_threads()
        candidates = _candidates(self._most)
        if (candidates, kind) not in self._choices:
            self._choices[candidates, kind] = _Choice(candidates, self._known.get(candidates))
        choice = self._choices[candidates, kind]
        threads = choice.next()
        torch.set_num_threads(threads)
        self._piece = choice, threads, self._clock()

    def end(self) -> None:
        """End the piece, if one has begun."""
        if self._piece is None:
            return
        choice, threads, started = self._piece
        self._piece = None
        seconds = self._clock() - started
        if choice.took(threads, seconds):
            self._known[choice.candidates] = choice.best
        for counter in self.counters:
            counter[threads] = counter.get(threads, 0.0) + seconds
        if torch.get_num_threads() == threads:  # else a user's code has set another number
            torch.set_num_threads(self._most)


class _Choice:
    """The number of threads for a kind of work: trials, and after each the fastest number for a while.

    Args:
        candidates: the numbers to try.
        known: the fastest number for another kind, which is used until the first trial; None: begin with it.
    """

    def __init__(self, candidates: tuple[int, ...], known: int | None) -> None:
        self.candidates, self.best = candidates, known
        self._left = 0.0 if known is None else _BETWEEN
        self._usual, self._late = math.inf, 0.0
        self._times: dict[int, list[float]] = {threads: [] for threads in candidates}

    def next(self) -> int:
        """Return the number of threads for the next piece."""
        if self.best is not None and self._left > 0:
            return self.best
        return min(self._pending(), key=lambda number: len(self._times[number]))  # in turns

    def took(self, threads: int, seconds: float) -> bool:
        """Take the time of a piece into account; return whether a trial has ended."""
        if self._left > 0:
            self._left -= seconds
            self._late = max(0.0, self._late + seconds - _SLOWER * self._usual)
            if self._late > max(_ENOUGH, _SLOWER * self._usual):
                self._left = 0.0
            return False
        self._times[threads].append(seconds)
        if self._pending():
            return False
        usual = {number: median(times) for number, times in self._times.items() if times}
        self.best = best = min(usual, key=lambda number: usual[number])
        lost = sum(len(self._times[number]) * (usual[number] - usual[best]) for number in usual)
        self._left, self._usual, self._late = max(_BETWEEN, lost / _COST), usual[best], 0.0
        self._times = {number: [] for number in self.candidates}
        return True

    def _pending(self) -> list[int]:
        """Return the numbers of threads that need more pieces in this trial."""
        tried = {number: min(times) for number, times in self._times.items() if times}
        if not tried:
            return [*self.candidates]
        best = min(tried, key=lambda number: tried[number])

        def pending(number: int, times: list[float]) -> bool:
            if not times:
                # A long piece on one of many threads would cost more than all that may be won.
                return number * _FEWER >= best or tried[best] * best / number < _LONGEST
            # The first piece of a number may include the making of its kernels.
            slow = len(tried) > 1 and tried[number] > (1 + 3 / len(times)) * tried[best]
            return not slow and len(times) < _PIECES and sum(times) < _ENOUGH

        return [number for number, times in self._times.items() if pending(number, times)]


def _candidates(most: int) -> tuple[int, ...]:
    """Return the numbers of threads to try, the largest first."""
    return (most,) if fixed() else tuple(sorted({most, most // 2 if most > 4 else 1, 1}, reverse=True))


def fixed() -> bool:
    """Return whether the user wants the same number of threads for all work.

    Raises:
        SetupError: the environment variable has an unknown value.
    """
    value = os.environ.get(VARIABLE, "")
    if value not in {"", "fixed", "measured"}:
        raise SetupError(f"{VARIABLE} must be fixed or measured, found {shown(value)}")
    return value == "fixed"


class _Own(threading.local):
    """The chooser of a thread of Python; torch keeps a number of threads for each of them."""

    def __init__(self) -> None:
        self.chooser = ThreadChooser()


_own = _Own()


@contextmanager
def measured_threads(most: int | None = None) -> Iterator[dict[int, float]]:
    """Let work inside the block that is announced by `begin_work` use the number of threads that is faster.

    At the end torch has as many threads as before. Later blocks use the measurements of earlier ones.

    Args:
        most: the largest number of threads; default: torch's.

    Yields:
        A dictionary that fills with the seconds of work for each number of threads.
    """
    chooser, used = _own.chooser, dict[int, float]()
    chooser.end()
    before = torch.get_num_threads()
    if most is not None:
        torch.set_num_threads(most)
    chooser.counters.append(used)
    try:
        yield used
    finally:
        chooser.end()
        chooser.counters.pop()
        if most is not None:
            torch.set_num_threads(before)


def begin_work(on: Tensor, kind: Hashable = "pass") -> None:
    """Announce a piece of work on a batch (N, ...), such as a pass; it lasts until the next one begins.

    Outside of `measured_threads`, or on a GPU, this does nothing.
    """
    chooser = _own.chooser
    if chooser.counters and on.device.type == "cpu":
        chooser.begin((kind, on.dtype, on.requires_grad, on.shape[1:], len(on).bit_length()))


def shares(records: Iterable[Mapping[int, float] | Mapping[str, float]]) -> dict[int, float]:
    """Return the share of the time for each number of threads, from records of seconds."""
    total: dict[int, float] = {}
    for record in records:
        for threads, seconds in record.items():
            total[int(threads)] = total.get(int(threads), 0.0) + seconds
    whole = sum(total.values())
    return {threads: total[threads] / whole for threads in sorted(total)} if whole > 0 else {}
