"""Reports the progress of long-running work; the terminal's version is in `robustlab.cli`."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager


class Progress:
    """Receives progress and shows nothing: the library's default, and the base class of the others."""

    def weigh(self, efforts: Mapping[str, float]) -> None:
        """Announce, before `plan`, each stage's approximate cost in any unit, to estimate the time left."""

    def plan(self, stages: list[str]) -> None:
        """Announce the names of all stages, in order."""

    def stage(self, name: str, state: str, seconds: float = 0.0, remark: str = "") -> None:
        """Report that a stage is now ``"running"``, ``"done"`` or ``"kept"`` (finished by an earlier run).

        ``remark``: the result in a few words.
        """

    @contextmanager
    def track(self, description: str, total: int, unit: str = "images") -> Iterator["Task"]:
        """Open a bar of ``total`` units of work inside the current stage."""
        del description, total, unit
        yield Task()

    def note(self, message: str) -> None:
        """Show the user an important message."""


class WithinStage(Progress):
    """Passes on bars and notes, but not stages, of work that is one stage of a larger run."""

    def __init__(self, outer: Progress) -> None:
        self._outer = outer

    @contextmanager
    def track(self, description: str, total: int, unit: str = "images") -> Iterator["Task"]:
        with self._outer.track(description, total, unit) as bar:
            yield bar

    def note(self, message: str) -> None:
        self._outer.note(message)


class Task:
    """One bar."""

    def advance(self, amount: float) -> None:
        """Report ``amount`` more units done; fractions are allowed."""

    def show(self, remark: str) -> None:
        """Show the current state in a few words, instead of the earlier remark."""
