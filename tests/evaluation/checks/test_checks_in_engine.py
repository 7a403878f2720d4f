"""An evaluation computes its checks once, block by block, and says what they cost."""

import re
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from robustlab.core import seeding
from robustlab.core.run import EvaluationRun
from robustlab.data import Split
from robustlab.evaluation.checks import PROBES, Context, Finding
from robustlab.evaluation.checks.gradient_free import GradientFree
from robustlab.evaluation.checks.gradients import ZeroGradients
from robustlab.evaluation.checks.growing_eps import Extremes
from robustlab.evaluation.engine import EvaluationOptions, execute

FLAGS = Path(__file__).parents[3] / "docs" / "flags.md"
IDS = [probe.id for probe in PROBES]


@pytest.fixture
def model(make_linear: Callable[..., nn.Module]) -> nn.Module:
    return make_linear(classes=4, shape=(1, 4, 5), seed=2)


def run(folder: Path, model: nn.Module, n: int = 30, **options: Any) -> EvaluationRun:
    ids = 100 + 7 * torch.arange(n)
    images = 0.3 + 0.4 * seeding.uniform(5, ids, (1, 4, 5))
    with seeding.isolated(0):
        labels = model(images).argmax(dim=1)
    split = Split(images=images, labels=labels, ids=ids, name="test")
    defaults: dict[str, Any] = {"attacks": "pgd(steps=10)", "precision": "fp32", "threat": "linf(eps=0.02)"}
    return execute(EvaluationOptions(model=model, dataset=split, out=str(folder), **(defaults | options)))


def started(folder: Path) -> list[str]:
    """Return the names of the checks on which work began, in order."""
    db = sqlite3.connect(folder / "ledger.sqlite")
    try:
        found = db.execute("SELECT name FROM events WHERE event = 'started' ORDER BY id").fetchall()
    finally:
        db.close()
    return [name for (name,) in found if name in IDS]


def test_checks_are_computed_once(model: nn.Module, tmp_path: Path) -> None:
    first = run(tmp_path, model).results
    assert [check.id for check in first.checks] == IDS
    assert started(tmp_path) == IDS
    second = run(tmp_path, model).results
    assert started(tmp_path) == IDS
    assert second.checks == first.checks
    assert second.seconds == first.seconds
    more = run(tmp_path, model, attacks="pgd(steps=10), apgd(steps=10)").results
    assert started(tmp_path) == 2 * IDS, "the checks build on what the attacks found"
    assert [check.id for check in more.checks] == IDS


def test_they_are_part_of_the_cost(model: nn.Module, tmp_path: Path) -> None:
    bare = run(tmp_path, model, checks=False).results
    assert bare.checks == []
    full = run(tmp_path, model).results
    assert full.forwards - bare.forwards == sum(check.forwards for check in full.checks) > 0
    assert full.backwards - bare.backwards == sum(check.backwards for check in full.checks) > 0
    assert full.seconds > bare.seconds
    assert full.robust == bare.robust


def test_a_stopped_evaluation_goes_on_with_the_next_check(
    model: nn.Module, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop(self: Extremes, context: Context) -> Finding:
        del self, context
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Extremes, "look", stop)
        with pytest.raises(KeyboardInterrupt):
            run(tmp_path, model)
    assert not (tmp_path / "manifest.json").exists()
    whole = run(tmp_path, model).results
    names = started(tmp_path)
    assert sorted(set(names)) == sorted(IDS)
    assert [name for name in IDS if names.count(name) > 1] == [Extremes.id]
    assert whole.checks == run(tmp_path / "other", model).results.checks


def test_a_red_flag_reaches_the_results(model: nn.Module, tmp_path: Path) -> None:
    class Step(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = model

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            logits: torch.Tensor = self.inner((x * 16).round() / 16)
            return logits

    results = run(tmp_path, Step().eval(), threat="linf(eps=0.1)").results
    flags = {check.id for check in results.red_flags}
    assert {ZeroGradients.id, GradientFree.id, Extremes.id} <= flags, results.checks


def test_every_check_is_explained() -> None:
    headings = re.findall(r"^## (\S+)$", FLAGS.read_text(), flags=re.MULTILINE)
    assert headings == IDS


@pytest.mark.parametrize("probe", PROBES, ids=lambda probe: probe.id)
def test_an_explanation_has_its_parts(probe: Any) -> None:
    text = FLAGS.read_text().split(f"\n## {probe.id}\n")[1].split("\n## ")[0]
    for part in ("**Computed.**", "**Threshold.**", "**If it fails.**", "**Next.**"):
        assert text.count(part) == 1, part
    assert probe.title in text
