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
from robustlab.core.errors import RunError
from robustlab.data import Split
from robustlab.evaluation.checks import ActiveCheck, AttackRunner, CheckResult, Sample, all_checks
from robustlab.evaluation.checks.eps_monotonicity import Extremes
from robustlab.evaluation.checks.gradient_free import GradientFree
from robustlab.evaluation.checks.gradients import ZeroGradients
from robustlab.evaluation.coordinator import EvaluationOptions, execute
from robustlab.evaluation.jobs.stages import AttackStage
from robustlab.runs.run import EvaluationFolder

FLAGS = Path(__file__).parents[3] / "docs" / "flags.md"
IDS = [unit.id for unit in all_checks()]
ELSEWHERE = {"proofs-under-attack", "random-moves", "more-samples"}
EXPERIMENTS = [unit.id for unit in all_checks() if isinstance(unit, ActiveCheck) and unit.id not in ELSEWHERE]
"""Those that are kept where no proofs were looked for, no rotations ran, and no means were taken."""


@pytest.fixture
def model(make_linear: Callable[..., nn.Module]) -> nn.Module:
    return make_linear(classes=4, shape=(1, 4, 5), seed=2)


def run(folder: Path, model: nn.Module, **options: Any) -> EvaluationFolder:
    ids = 100 + 7 * torch.arange(40)
    images = 0.3 + 0.4 * seeding.uniform(5, ids, (1, 4, 5))
    with seeding.isolated(0):
        labels = model(images).argmax(dim=1)
    split = Split(images=images, labels=labels, ids=ids, name="test")
    defaults: dict[str, Any] = {"attacks": "pgd(steps=10)", "precision": "fp32", "threat": "linf(eps=0.02)"}
    defaults |= {"n": 30, "certify": False}
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
    assert started(tmp_path) == EXPERIMENTS
    second = run(tmp_path, model).results
    assert started(tmp_path) == EXPERIMENTS
    assert second.checks == first.checks
    assert second.seconds == first.seconds


def test_an_attack_that_breaks_nothing_new_leaves_the_checks_alone(model: nn.Module, tmp_path: Path) -> None:
    first = run(tmp_path, model).results
    more = run(tmp_path, model, attacks="pgd(steps=10), random_points(count=1)").results
    assert more.rows[-1].broken == 0
    assert started(tmp_path) == [*EXPERIMENTS, "undefended-network"], "this one runs the attacks themselves"
    assert [check.grade for check in more.checks if check.id != "blind-gain"] == [
        check.grade for check in first.checks if check.id != "blind-gain"
    ]


CHANGES: dict[str, dict[str, Any]] = {
    "an attack that breaks more": {"attacks": "random_points(count=1), apgd(steps=20)"},
    "more images": {"n": 40},
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_no_kept_outcome_is_stale(change: dict[str, Any], model: nn.Module, tmp_path: Path) -> None:
    weak = {"attacks": "random_points(count=1)"}
    before = run(tmp_path, model, **weak).results
    changed = run(tmp_path, model, **(weak | change)).results
    assert changed.checks == run(tmp_path / "anew", model, **(weak | change)).results.checks
    assert changed.checks != before.checks
    work = started(tmp_path)
    assert run(tmp_path, model, **weak).results.checks == before.checks
    assert started(tmp_path) == work, "what was found before is kept, too"


def test_the_code_of_an_attack_is_part_of_what_is_read(
    model: nn.Module, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(tmp_path, model)
    monkeypatch.setattr(AttackStage, "code", " of somebody, changed since")
    run(tmp_path, model)
    assert started(tmp_path) == [*EXPERIMENTS, "undefended-network"]


def test_what_reads_only_the_classifier_is_not_done_again_for_an_attack(
    model: nn.Module, tmp_path: Path
) -> None:
    before = run(tmp_path, model, attacks="random_points(count=1)").results
    after = run(tmp_path, model, attacks="random_points(count=1), apgd(steps=20)").results
    assert after.robust.value < before.robust.value
    names = started(tmp_path)[len(EXPERIMENTS) :]
    assert "more-steps" in names
    for name in ("softmax-output", "randomness", "zero-gradients", "accuracy-grows-with-eps"):
        assert name not in names


def test_a_crashed_check_is_computed_again(
    model: nn.Module, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def crash(self: Extremes, runner: AttackRunner, sample: Sample) -> CheckResult:
        del self, runner, sample
        raise ValueError("no luck")

    with monkeypatch.context() as patch:
        patch.setattr(Extremes, "look", crash)
        crashed = {check.id: check for check in run(tmp_path, model).results.checks}[Extremes.id]
    assert (crashed.grade, crashed.found) == ("warn", "could not be computed: ValueError: no luck")
    again = {check.id: check for check in run(tmp_path, model).results.checks}[Extremes.id]
    assert again.grade == "pass"
    assert started(tmp_path) == [*EXPERIMENTS, Extremes.id]


def test_stored_images_are_looked_at_each_time(model: nn.Module, tmp_path: Path) -> None:
    def grade() -> str:
        checks = run(tmp_path, model, threat="linf(eps=0.05)").results.checks
        return {check.id: check.grade for check in checks}["stored-images"]

    assert grade() == "pass"
    for image in (torch.full((20,), 2.0), torch.full((20,), 0.5)):
        db = sqlite3.connect(tmp_path / "ledger.sqlite")
        with db:
            db.execute(
                "UPDATE examples SET image = ? WHERE rowid = (SELECT MIN(rowid) FROM examples)",
                (image.numpy().tobytes(),),
            )
        db.close()
        with pytest.raises(RunError, match="damaged"):
            grade()
        assert grade() == "pass", "it is looked for once more"


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
    def stop(self: Extremes, runner: AttackRunner, sample: Sample) -> CheckResult:
        del self, runner, sample
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Extremes, "look", stop)
        with pytest.raises(KeyboardInterrupt):
            run(tmp_path, model)
    assert not (tmp_path / "manifest.json").exists()
    whole = run(tmp_path, model).results
    names = started(tmp_path)
    assert sorted(set(names)) == sorted(EXPERIMENTS)
    assert [name for name in EXPERIMENTS if names.count(name) > 1] == [Extremes.id]
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


@pytest.mark.parametrize("unit", all_checks(), ids=lambda unit: unit.id)
def test_an_explanation_has_its_parts(unit: Any) -> None:
    text = FLAGS.read_text().split(f"\n## {unit.id}\n")[1].split("\n## ")[0]
    for part in ("**Computed.**", "**Threshold.**", "**If it fails.**", "**Next.**"):
        assert text.count(part) == 1, part
    assert unit.title in text


class Remembering(nn.Module):
    """Notes each answer in a buffer that is not saved."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model
        self.register_buffer("calls", torch.zeros(()), persistent=False)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        self.get_buffer("calls").add_(1)
        answer: torch.Tensor = self.model(images)
        return answer


def test_what_changes_is_named_as_its_user_knows_it(model: nn.Module, tmp_path: Path) -> None:
    for eight_bit in (False, True):
        levels = (255 * torch.rand(10, 1, 4, 5, generator=torch.Generator().manual_seed(0))).to(torch.uint8)
        split = Split(
            images=levels, labels=model(levels / 255).argmax(dim=1), ids=torch.arange(10), name="test"
        )
        options = EvaluationOptions(
            model=Remembering(model).eval(),
            dataset=split,
            out=str(tmp_path / str(eight_bit)),
            attacks="fgsm",
            precision="fp32",
            certify=False,
            eight_bit=eight_bit,
        )
        results = execute(options).results
        (check,) = (check for check in results.checks if check.id == "state-changes")
        assert check.grade == "fail"
        assert check.found == "1 parameters or buffers changed, calls among them"
