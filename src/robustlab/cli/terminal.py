"""Progress on the terminal: a line per finished stage, and bars with the time left below."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.panel import Panel
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.progress import Progress as Bars

from robustlab.cli.escaping import escape
from robustlab.core.progress import Progress, Task


class TerminalProgress(Progress):
    """Shows progress on standard error; use as a context manager."""

    def __init__(self, *, quiet: bool) -> None:
        self.console = Console(stderr=True, highlight=False)
        self._quiet = quiet
        self._bars = Bars(
            TextColumn("{task.description}"),
            BarColumn(bar_width=24),
            MofNCompleteColumn(),
            TextColumn("{task.fields[unit]}"),
            TextColumn("{task.fields[remark]}"),
            TimeElapsedColumn(),
            TimeRemainingColumn(compact=True),
            console=self.console,
            transient=True,
            disable=quiet,
        )
        self._all: TaskID | None = None
        self._kept = 0
        self._started = time.monotonic()

    def __enter__(self) -> Self:
        if not self._quiet:
            self.console.print("[dim]loading PyTorch …[/dim]")
        import robustlab.api  # noqa: F401 (torch, which takes seconds)

        self._bars.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._report_kept()
        self._bars.stop()

    def plan(self, stages: list[str]) -> None:
        self._all = self._bars.add_task("[bold]all stages", total=len(stages), unit="stages", remark="")

    def stage(self, name: str, state: str, seconds: float = 0.0, remark: str = "") -> None:
        if state == "kept":
            self._kept += 1
        elif state == "done":
            said = f"  {escape(remark)}" if remark else ""
            self._print(f"[green]✓[/green] {escape(name)}{said}  [dim]{seconds:.1f} s[/dim]")
        else:
            self._report_kept()
        if state != "running" and self._all is not None:
            self._bars.advance(self._all)

    @contextmanager
    def track(self, description: str, total: int, unit: str = "images") -> Iterator[Task]:
        bar = self._bars.add_task(f"  {escape(description)}", total=total, unit=unit, remark="")
        try:
            yield _Bar(self._bars, bar)
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

    def _report_kept(self) -> None:
        if self._kept:
            self._print(f"[green]✓[/green] {self._kept} stages kept from an earlier run")
            self._kept = 0


class _Bar(Task):
    def __init__(self, bars: Bars, task: TaskID) -> None:
        self._bars, self._task = bars, task

    def advance(self, amount: float) -> None:
        self._bars.advance(self._task, amount)

    def show(self, remark: str) -> None:
        self._bars.update(self._task, remark=remark)
