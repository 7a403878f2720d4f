"""A separate process that trains networks for another one.

It is started by `robustlab.training.side_by_side`, reads jobs from its standard input, and answers on its
standard output; both carry pickled tuples. It writes only the networks. It ends when its input ends, so it
never outlives the process that started it.
"""

import os
import pickle
import queue
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any, BinaryIO

from robustlab.core.errors import RobustlabError
from robustlab.core.isolation import own_settings
from robustlab.core.memory import give_back_freed_memory, keep_freed_memory
from robustlab.core.progress import Progress, Task
from robustlab.core.threads import THREADS_USED, measured_threads

__all__: list[str] = []


def _main() -> None:
    # Ctrl-C reaches every process of the terminal; the parent process handles it.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    orders: queue.SimpleQueue[Any] = queue.SimpleQueue()
    threading.Thread(target=_read, args=(sys.stdin.buffer, orders), daemon=True).start()
    with os.fdopen(os.dup(1), "wb") as answers:
        os.dup2(2, 1)  # prints of a user's code
        with suppress(Exception):  # a job that fails here is repeated in the parent process
            _work(orders, answers)


def _read(given: BinaryIO, orders: "queue.SimpleQueue[Any]") -> None:
    try:
        while True:
            orders.put(pickle.load(given))
    except Exception:  # the parent process has ended
        os._exit(0)


def _work(orders: "queue.SimpleQueue[Any]", answers: BinaryIO) -> None:
    def send(*message: Any) -> None:
        pickle.dump(message, answers)
        answers.flush()

    keep_freed_memory()
    sys.path[:], splits = orders.get()
    give_back_freed_memory()
    progress = _Sent(send)
    with own_settings():
        while True:
            job = orders.get()
            started = time.perf_counter()
            try:
                with measured_threads() as used:
                    payload = job.run(*splits, progress)
            except RobustlabError as error:
                send("failed", error)
            else:
                payload[THREADS_USED] = used
                send("done", payload, time.perf_counter() - started)


class _Sent(Progress):
    """Progress that the parent process shows."""

    def __init__(self, send: Callable[..., None]) -> None:
        self._send = send

    @contextmanager
    def track(self, description: str, total: int, unit: str = "images") -> Iterator[Task]:
        self._send("track", description, total, unit)
        yield _SentTask(self._send)
        self._send("end of track")

    def note(self, message: str) -> None:
        self._send("note", message)


class _SentTask(Task):
    def __init__(self, send: Callable[..., None]) -> None:
        self._send = send

    def advance(self, amount: float) -> None:
        self._send("advance", amount)

    def show(self, remark: str) -> None:
        self._send("show", remark)


if __name__ == "__main__":
    _main()
