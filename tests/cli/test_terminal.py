"""What the terminal shows while something runs."""

import io

import pytest
from rich.console import Console

from robustlab.cli.terminal import TerminalProgress
from robustlab.evaluation.coordinator.block_progress import BlockProgress


def shown(*, quiet: bool = False, terminal: bool = True) -> tuple[TerminalProgress, io.StringIO]:
    progress, screen = TerminalProgress(quiet=quiet), io.StringIO()
    console = Console(file=screen, force_terminal=terminal, width=160, color_system=None)
    progress.console = progress._bars.live.console = console
    return progress, screen


def test_a_bar_shows_the_share_the_remark_and_the_time_left() -> None:
    progress, screen = shown()
    with progress, progress.track("apgd()", 200) as bar:
        tell = BlockProgress(bar, 100, survivors=180, n=200)
        for step in range(1, 6):
            tell(step / 10, 4 * step)
            progress._bars.refresh()
    assert "robust so far 80.0 %" in screen.getvalue()  # 180 - 20 of 200
    assert "50/200 images" in screen.getvalue()


def test_a_finished_stage_leaves_a_line_with_what_came_out() -> None:
    progress, screen = shown()
    with progress:
        progress.plan(["clean", "pgd"])
        progress.stage("clean", "kept")
        progress.stage("pgd [odd] name", "running")
        progress.stage("pgd [odd] name", "done", 1.234, "robust accuracy 71.0 %")
    text = screen.getvalue()
    assert "✓ 1 stages kept from an earlier run" in text
    assert "✓ pgd [odd] name  robust accuracy 71.0 %  1.2 s" in text


def test_quiet_shows_warnings_alone() -> None:
    progress, screen = shown(quiet=True)
    with progress:
        progress.plan(["pgd"])
        progress.stage("pgd", "done", 1.0, "robust accuracy 71.0 %")
        progress.note("images were made up")
    assert "images were made up" in screen.getvalue()
    assert "pgd" not in screen.getvalue()


def overall(progress: TerminalProgress) -> tuple[float, float, str]:
    task = next(task for task in progress._bars.tasks if "all stages" in task.description)
    return task.completed, task.total or 0.0, task.fields["count"]


def test_the_time_left_goes_by_what_stages_cost_and_moves_within_one() -> None:
    progress, _ = shown()
    with progress:
        progress.weigh({"train": 70.0, "attack": 20.0, "report": 10.0})
        progress.plan(["train", "attack", "report"])
        progress.stage("train", "running")
        with progress.track("train", 1000) as bar:
            bar.advance(500)
            assert overall(progress) == (35.0, 100.0, "0/3 stages")
            bar.advance(500)
        progress.stage("train", "done", 1.0)
        assert overall(progress) == (70.0, 100.0, "1/3 stages")
        progress.stage("attack", "running")
        for part in ("clean images", "pgd"):  # bars of its parts
            with progress.track(part, 100) as bar:
                bar.advance(100)
        completed, *_ = overall(progress)
        assert 70 < completed < 90
        progress.stage("attack", "done", 1.0)
        progress.stage("report", "done", 1.0)
        assert overall(progress) == (100.0, 100.0, "3/3 stages")


def test_stages_of_an_earlier_run_say_nothing_about_the_speed() -> None:
    progress, _ = shown()
    with progress:
        progress.weigh({"train": 70.0, "attack": 30.0})
        progress.plan(["train", "attack"])
        progress.stage("train", "kept")
        assert overall(progress) == (0.0, 30.0, "1/2 stages")


def test_two_stages_at_once_move_each_its_own_part() -> None:
    progress, _ = shown()
    with progress:
        progress.weigh({"train a": 60.0, "train b": 40.0})
        progress.plan(["train a", "train b"])
        for name in ("train a", "train b"):
            progress.stage(name, "running")
        with (
            progress.track("train b", 4) as b,
            progress.track("train a", 2) as a,
            progress.track("x", 1) as x,
        ):
            a.advance(1)
            b.advance(1)
            x.advance(1)  # of nobody
        assert overall(progress)[0] == 40.0


class Bar:
    """Remembers what it was told."""

    def __init__(self) -> None:
        self.done, self.remarks = 0.0, [""]

    def advance(self, amount: float) -> None:
        assert amount >= 0
        self.done += amount

    def show(self, remark: str) -> None:
        self.remarks.append(remark)


@pytest.mark.parametrize("shares", [[], [0.3, 0.6], [0.9, 0.2, 1.0]])
def test_a_block_counts_once_however_often_it_tells(shares: list[float]) -> None:
    bar = Bar()
    tell = BlockProgress(bar, 40, survivors=None, n=100)  # type: ignore[arg-type]
    for share in [*shares, 1.0]:
        tell(share, 3)
    assert bar.done == pytest.approx(40)
    assert bar.remarks == [""], "a stage that breaks no image has nothing to say of robustness"
