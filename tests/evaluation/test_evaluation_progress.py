"""What an evaluation tells while it works."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from evaluation_runs import SHAPE, Notes, evaluate, grey_split
from torch import nn

from robustlab.attacks import progress_reporter
from robustlab.core.progress import Task
from robustlab.evaluation.metrics import percent


@pytest.fixture
def model(make_linear: Callable[..., nn.Module]) -> nn.Module:
    return make_linear(classes=4, shape=SHAPE, seed=2)


class Remarks(Notes, Task):
    """Remembers what is shown beside the bars."""

    def __init__(self) -> None:
        super().__init__()
        self.shown: list[str] = []

    @contextmanager
    def track(self, description: str, total: int, unit: str = "images") -> Iterator[Task]:
        del unit, description, total
        yield self

    def show(self, remark: str) -> None:
        self.shown.append(remark)


def test_what_an_earlier_run_broke_is_no_longer_robust_so_far(model: nn.Module, tmp_path: Path) -> None:
    split, remarks = grey_split(model), Remarks()
    evaluate(tmp_path, model, split, n=40)
    results = evaluate(tmp_path, model, split, remarks, n=60).results
    assert results.robust.value < results.clean.value
    assert remarks.shown[-1] == f"robust so far {percent(results.robust.value)}"


class Bars(Notes):
    """Remembers the bars, too."""

    def __init__(self) -> None:
        super().__init__()
        self.done: dict[str, float] = {}
        self.remarks: dict[str, list[str]] = {}
        self.ends: dict[str, str] = {}

    def stage(self, name: str, state: str, seconds: float = 0.0, remark: str = "") -> None:
        super().stage(name, state, seconds, remark)
        self.ends[name] = remark

    @contextmanager
    def track(self, description: str, total: int, unit: str = "images") -> Iterator[Task]:
        del unit
        bars = self

        class Bar(Task):
            def advance(self, amount: float) -> None:
                bars.done[description] = bars.done.get(description, 0.0) + amount / total

            def show(self, remark: str) -> None:
                bars.remarks.setdefault(description, []).append(remark)

        yield Bar()


def test_progress_tells_the_running_robust_accuracy_inside_a_batch(
    model: nn.Module, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(progress_reporter, "_OFTEN", 0.0)
    bars = Bars()
    run = evaluate(tmp_path, model, grey_split(model), bars, attacks="pgd(steps=10), fgsm", batch_size=100)
    final = percent(run.results.robust.value)
    assert all(done == pytest.approx(1.0) for done in bars.done.values())
    remarks = bars.remarks["pgd(steps=10)"]
    assert len(remarks) > 5, "one batch, and yet it is told of again and again"
    shares = [float(remark.split()[-2]) for remark in remarks]
    assert shares == sorted(shares, reverse=True)
    assert shares[0] > shares[-1]
    assert bars.remarks["fgsm()"][-1] == f"robust so far {final}"
    assert bars.ends["fgsm()"] == f"robust so far {final}"
    assert bars.ends["clean images"] == f"accuracy {percent(run.results.clean.value)}"
