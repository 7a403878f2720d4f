"""Trains several networks at the same time, each in its own process.

A small network makes little use of a second core. Two trainings at the same time, with one thread each, take
less time than one after another with two threads (LOG.md, "Trainings side by side on a Xeon").
"""

import os
import pickle
import queue
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any, Self

import torch

import robustlab
from robustlab.core.memory import give_back_freed_memory
from robustlab.core.progress import Progress, Task
from robustlab.data import Split
from robustlab.training.job import TrainingJob

__all__ = ["threads_per_training", "trained_side_by_side"]

_WORKER = "robustlab.training.worker"
_WORTH_IT = 1_000_000
"""The smallest sum of images times epochs, over all trainings, for which starting processes is worth it."""

_Messages = queue.SimpleQueue[tuple["_Worker", Any]]


def threads_per_training(epochs: Sequence[int], after: Sequence[Sequence[int]], images: int) -> int:
    """Return how many threads each of a study's trainings uses on this machine's processor.

    It is the largest number: each training uses the faster one up to it. It depends on all trainings of the
    study, also on finished ones, since it influences the last bits of the weights.

    Args:
        epochs: of each training.
        after: for each training the indices of the trainings that it depends on.
        images: images in the training split.
    """
    threads = torch.get_num_threads()
    if images * sum(epochs) < _WORTH_IT:
        return threads
    generations: list[int] = []
    for places in after:
        generations.append(1 + max((generations[place] for place in places), default=0))
    return max(1, threads // max(Counter(generations).values()))


def trained_side_by_side(
    jobs: Sequence[TrainingJob],
    splits: tuple[Split, Split],
    progress: Progress,
    begin: Callable[[TrainingJob], None],
) -> Iterator[tuple[TrainingJob, dict[str, Any], float]]:
    """Train networks on the CPU and yield each finished job with its result and its seconds.

    A job that can't run in another process is skipped, and the caller trains it. Nothing is yielded on a
    machine with one core, on a GPU, or for a single job.

    Args:
        jobs: in an order in which each job follows the jobs whose networks it needs.
        splits: training and validation images.
        progress: where progress is shown.
        begin: called with each job before it begins.

    Raises:
        RobustlabError: the error of a job.
    """
    at_once = min(len(jobs), torch.get_num_threads() // jobs[0].threads) if jobs else 0
    if at_once < 2 or jobs[0].compute.device != "cpu" or not sys.executable:
        return
    try:
        images = pickle.dumps((sys.path, splits))
    except Exception:  # a user's images may exist only in this process
        return
    waiting, running = list(jobs), dict[_Worker, TrainingJob]()
    unfinished = {job.path for job in jobs}
    messages: _Messages = queue.SimpleQueue()
    with ExitStack() as stack:
        idle = [stack.enter_context(_Worker(progress, messages, images)) for _ in range(at_once)]
        del images
        give_back_freed_memory()
        while True:
            for job in [job for job in waiting if unfinished.isdisjoint(job.sources.values())][: len(idle)]:
                begin(job)
                waiting.remove(job)
                running[idle[-1]] = job
                idle.pop().send(job)
            if not running:
                return
            worker, message = messages.get()
            match message:
                case ("done", payload, seconds):
                    job = running.pop(worker)
                    unfinished.remove(job.path)
                    idle.append(worker)
                    yield job, payload, seconds
                case ("failed", error):
                    raise error
                case ("lost",):
                    running.pop(worker, None)
                    idle = [other for other in idle if other is not worker]
                case _:
                    worker.show(message)


class _Worker:
    """A training process and its progress bar; use as a context manager, which ends the process."""

    def __init__(self, progress: Progress, messages: _Messages, images: bytes) -> None:
        self.progress, self.messages = progress, messages
        self.bar, self.task = ExitStack(), Task()
        above = str(Path(robustlab.__file__).parents[1])
        self.process = subprocess.Popen(
            [sys.executable, "-m", _WORKER],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=os.environ | {"PYTHONPATH": os.pathsep.join([above, os.environ.get("PYTHONPATH", "")])},
        )
        self.listener = threading.Thread(target=self._listen, daemon=True)
        self.listener.start()
        self._write(images)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.wait()
        self.listener.join()
        for pipe in (self.process.stdin, self.process.stdout):
            assert pipe is not None
            with suppress(OSError):  # a job that could not be sent
                pipe.close()
        self.bar.close()

    def send(self, job: TrainingJob) -> None:
        """Send a job to the process."""
        try:
            self._write(pickle.dumps(job))
        except Exception:  # a unit that exists only in this process
            self.process.kill()

    def show(self, message: tuple[Any, ...]) -> None:
        """Show progress that the process reported."""
        match message:
            case ("track", *bar):
                self.task = self.bar.enter_context(self.progress.track(*bar))
            case ("end of track",):
                self.bar.close()
            case ("advance", amount):
                self.task.advance(amount)
            case ("show", remark):
                self.task.show(remark)
            case ("note", text):
                self.progress.note(text)

    def _write(self, data: bytes) -> None:
        assert self.process.stdin is not None
        with suppress(OSError):  # it has ended; the listener reports this
            self.process.stdin.write(data)
            self.process.stdin.flush()

    def _listen(self) -> None:
        assert self.process.stdout is not None
        try:
            while True:
                self.messages.put((self, pickle.load(self.process.stdout)))
        except Exception:  # it has ended
            self.messages.put((self, ("lost",)))
