"""Progress on the terminal or in a notebook: a line per finished stage, and bars with the time left below."""

import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from importlib.util import find_spec
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.panel import Panel
from rich.progress import (
    BarColumn,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.progress import Progress as Bars

from robustlab.cli.escaping import escape
from robustlab.core.progress import Progress, Task

_WINDOW = 120
"""The length in seconds of the window for the speed, from which the time left is estimated."""

_PART = 0.5
"""The part of the stage's remaining work that a bar with another name counts for."""


_REFRESH = 0.2
"""In a notebook, the seconds between two pictures of the bars."""


class TerminalProgress(Progress):
    """Shows progress on standard error, or below a notebook's cell; use as a context manager.

    A notebook shows the bars with the package ipywidgets, and without it only the lines.
    """

    def __init__(self, *, quiet: bool) -> None:
        self.console = Console(stderr=True, highlight=False)
        self._quiet, self._refreshed = quiet, 0.0
        notebook = self.console.is_jupyter
        self._bars = Bars(
            TextColumn("{task.description}"),
            BarColumn(bar_width=24),
            TextColumn("{task.fields[count]}"),
            TextColumn("{task.fields[remark]}"),
            TimeElapsedColumn(),
            TimeRemainingColumn(compact=True),
            console=self.console,
            transient=True,
            disable=quiet or (notebook and find_spec("ipywidgets") is None),
            # A thread that draws would take lines that are printed meanwhile for parts of the bars.
            auto_refresh=not notebook,
            speed_estimate_period=_WINDOW,
        )
        self._all: TaskID | None = None
        self._efforts: dict[str, float] = {}
        self._running: dict[str, float] = {}
        self._finished = self._planned = 0
        self._kept = 0

    def __enter__(self) -> Self:
        if not self._quiet and "torch" not in sys.modules:
            self.console.print("[dim]loading PyTorch …[/dim]")
        import robustlab.api  # noqa: F401 (torch, which takes seconds)

        self._bars.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._report_kept()
        self._bars.stop()

    def weigh(self, efforts: Mapping[str, float]) -> None:
        self._efforts = dict(efforts)

    def plan(self, stages: list[str]) -> None:
        total = sum(map(self._effort, stages))
        self._planned, self._finished = len(stages), 0
        self._all = self._bars.add_task("[bold]all stages", total=total, count=self._count(), remark="")

    def stage(self, name: str, state: str, seconds: float = 0.0, remark: str = "") -> None:
        if state == "kept":
            self._kept += 1
        elif state == "done":
            said = f"  {escape(remark)}" if remark else ""
            self._print(f"[green]✓[/green] {escape(name)}{said}  [dim]{seconds:.1f} s[/dim]")
        else:
            self._report_kept()
            self._running[name] = 0.0
        if state != "running":
            self._end(name, kept=state == "kept")
        self._refresh()

    def _end(self, name: str, *, kept: bool) -> None:
        left = self._effort(name) - self._running.pop(name, 0.0)
        self._finished += 1
        if self._all is None:
            return
        self._bars.update(self._all, count=self._count())
        if kept:  # it took no time, so it gives no speed
            task = next(task for task in self._bars.tasks if task.id == self._all)
            self._bars.update(self._all, total=max((task.total or 0.0) - left, task.completed))
        else:
            self._bars.advance(self._all, left)

    def _effort(self, name: str) -> float:
        return self._efforts.get(name, 1.0)

    def _count(self) -> str:
        return f"{self._finished}/{self._planned} stages"

    @contextmanager
    def track(self, description: str, total: int, unit: str = "images") -> Iterator[Task]:
        bar = self._bars.add_task(
            f"  {escape(description)}", total=total, count=f"0/{total} {unit}", remark=""
        )
        # A bar belongs to the stage of its name, or else to the only running stage.
        only = next(iter(self._running)) if len(self._running) == 1 else None
        stage = description if description in self._running else only
        worth = 0.0
        if stage is not None:
            part = 1.0 if stage == description else _PART
            worth = part * (self._effort(stage) - self._running[stage])

        def advanced(share: float) -> None:
            if stage in self._running and self._all is not None:
                step = min(share * worth, self._effort(stage) - self._running[stage])
                self._running[stage] += step
                self._bars.advance(self._all, step)

        def changed(share: float) -> None:
            advanced(share)
            self._refresh()

        try:
            yield _Bar(self._bars, bar, total, unit, changed)
        finally:
            self._bars.remove_task(bar)

    def note(self, message: str) -> None:
        # A note is a warning, so it is shown even when quiet.
        self.console.print(
            Panel(escape(message), title="Please note", border_style="bold yellow", highlight=False)
        )

    def _print(self, line: str) -> None:
        if not self._quiet:
            self._bars.console.print(line)

    def _refresh(self) -> None:
        """Draw the bars, where no thread does."""
        if not self._bars.live.auto_refresh and time.monotonic() - self._refreshed > _REFRESH:
            self._bars.refresh()
            self._refreshed = time.monotonic()

    def _report_kept(self) -> None:
        if self._kept:
            self._print(f"[green]✓[/green] {self._kept} stages kept from an earlier run")
            self._kept = 0


class _Bar(Task):
    def __init__(
        self, bars: Bars, task: TaskID, total: int, unit: str, advanced: Callable[[float], None]
    ) -> None:
        self._bars, self._task, self._total, self._unit = bars, task, total, unit
        self._advanced, self._done = advanced, 0.0

    def advance(self, amount: float) -> None:
        self._done += amount
        count = f"{self._done:.0f}/{self._total} {self._unit}"
        self._bars.update(self._task, advance=amount, count=count)
        self._advanced(amount / max(1, self._total))

    def show(self, remark: str) -> None:
        self._bars.update(self._task, remark=remark)
