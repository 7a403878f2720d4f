"""Trains several networks of a study at the same time, each in a process of its own.

A small network makes little use of a second core: two that are trained at once, with one thread each, take
about two thirds of the time that they take one after another with two threads (LOG.md).
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
from types import TracebackType
from typing import Any, Self

import torch

import robustlab
from robustlab.core.options import options_of
from robustlab.core.progress import Progress, Task
from robustlab.options import StudyOptions
from robustlab.study.stages.train import TrainStage

_WORTH_IT = 1_000_000
"""Images per training split times epochs, in all, from which on starting processes pays."""


def threads_per_training(stages: Sequence[TrainStage], images: int) -> int:
    """Return how many threads each of a plan's trainings uses on this machine.

    The plan alone decides, and not what an earlier run has left to do: the number of threads settles the last
    bits of the weights.

    Args:
        stages: all trainings of the plan, each after those that it builds on.
        images: in the training split.
    """
    threads = torch.get_num_threads()
    work = images * sum(stage.config.epochs for stage in stages)
    if work < _WORTH_IT or any(stage.device != "cpu" for stage in stages):
        return threads
    generation: dict[str, int] = {}
    for stage in stages:
        generation[stage.key] = 1 + max((generation.get(key, 0) for key in stage.inputs), default=0)
    at_once = max(Counter(generation.values()).values())
    return max(1, threads // at_once)


def trained_side_by_side(
    stages: Sequence[TrainStage],
    threads: int,
    options: StudyOptions,
    progress: Progress,
    begin: Callable[[TrainStage], None],
) -> Iterator[tuple[TrainStage, dict[str, Any], float]]:
    """Train networks and yield each as it is done, with the stage's payload and its seconds.

    What could not be trained in another process is left out: it is for the caller to do. So it is with all of
    them where there is no core for a second process.

    Args:
        stages: those to be trained, each after those that it builds on.
        threads: how many each of them uses; see `threads_per_training`.
        options: of the study.
        progress: where progress is shown.
        begin: told of each stage before it begins.

    Raises:
        RobustlabError: what a stage raised.
    """
    at_once = min(len(stages), torch.get_num_threads() // threads)
    if at_once < 2 or not sys.executable:
        return
    waiting, running = list(stages), dict[_Worker, TrainStage]()
    unfinished = {stage.key for stage in stages}
    messages: queue.SimpleQueue[tuple[_Worker, Any]] = queue.SimpleQueue()
    with ExitStack() as stack:
        idle = [stack.enter_context(_Worker(threads, options, progress, messages)) for _ in range(at_once)]
        while True:
            for stage in [stage for stage in waiting if unfinished.isdisjoint(stage.inputs)][: len(idle)]:
                begin(stage)
                waiting.remove(stage)
                running[idle[-1]] = stage
                idle.pop().order(stage.key)
            if not running:
                return
            worker, message = messages.get()
            match message:
                case ("done", payload, seconds):
                    stage = running.pop(worker)
                    unfinished.remove(stage.key)
                    idle.append(worker)
                    yield stage, payload, seconds
                case ("failed", error):
                    raise error
                case ("lost",):
                    running.pop(worker, None)
                    idle = [other for other in idle if other is not worker]
                case _:
                    worker.show(message)


class _Worker:
    """A process that trains, and the bar of what it is at; use as a context manager, which ends it."""

    def __init__(
        self,
        threads: int,
        options: StudyOptions,
        progress: Progress,
        messages: "queue.SimpleQueue[tuple[_Worker, Any]]",
    ) -> None:
        self.progress, self.messages = progress, messages
        self.bar, self.task = ExitStack(), Task()
        above = str(Path(robustlab.__file__).parents[1])
        self.process = subprocess.Popen(
            [sys.executable, "-m", "robustlab.study.training_worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=os.environ | {"PYTHONPATH": os.pathsep.join([above, os.environ.get("PYTHONPATH", "")])},
        )
        self.listener = threading.Thread(target=self._listen, daemon=True)
        self.listener.start()
        asked = {name: getattr(options, name) for name in options_of(StudyOptions) if name != "progress"}
        self._send((sys.path, asked, threads))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.process.kill()
        self.process.wait()
        self.listener.join()
        for pipe in (self.process.stdin, self.process.stdout):
            assert pipe is not None
            with suppress(OSError):  # what could not be sent
                pipe.close()
        self.bar.close()

    def order(self, key: str) -> None:
        """Have the network of a stage trained."""
        self._send(key)

    def show(self, message: tuple[Any, ...]) -> None:
        """Show progress that the process has told of."""
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

    def _send(self, what: object) -> None:
        assert self.process.stdin is not None
        with suppress(OSError):  # it has ended, which the listener tells
            pickle.dump(what, self.process.stdin)
            self.process.stdin.flush()

    def _listen(self) -> None:
        assert self.process.stdout is not None
        try:
            while True:
                self.messages.put((self, pickle.load(self.process.stdout)))
        except Exception:  # it has ended
            self.messages.put((self, ("lost",)))
