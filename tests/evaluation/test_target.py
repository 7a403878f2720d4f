"""--target: an evaluation against an attacker who wants a certain class."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from evaluation_runs import SHAPE, Notes, evaluate, grey_split, states, table, verdicts
from torch import Tensor, nn

from robustlab.core.errors import RunError, SpecError
from robustlab.data import Split
from robustlab.runs.run import load_run

CLASSES, EPS = 4, 0.02


@pytest.fixture
def model(make_linear: Callable[..., nn.Module]) -> nn.Module:
    return make_linear(classes=CLASSES, shape=SHAPE, seed=2)


@pytest.fixture
def split(model: nn.Module) -> Split:
    return grey_split(model, n=80)


def targeted(folder: Path, model: nn.Module, split: Split, target: str | int, **options: Any) -> Any:
    return evaluate(folder, model, split, attacks="pgd(steps=20)", target=target, **options)


@pytest.mark.parametrize("words", [[3, "3", "targeted(classes=3)"], ["+1", "next"]])
def test_all_ways_to_name_a_target_are_one(
    words: list[str | int], model: nn.Module, split: Split, tmp_path: Path
) -> None:
    runs = [targeted(tmp_path, model, split, word) for word in words]
    assert len({json.dumps(run.results.model_dump(mode="json")["robust"]) for run in runs}) == 1
    with pytest.raises(RunError, match="other settings: target"):
        targeted(tmp_path, model, split, 2)


def reachable(model: nn.Module, split: Split, targets: Tensor) -> Tensor:
    """Return (N,) whether a linear model can be moved to a target within EPS: the linear program's vertices.

    Only of the rival pair (target, label) alone: necessary, so a success where it is False is a fault.
    """
    images = split.pixels(slice(None)).requires_grad_()
    logits = model(images)
    rows = torch.arange(len(split))
    gap = logits[rows, targets] - logits[rows, split.labels]
    (slope,) = torch.autograd.grad(gap.sum(), images)
    possible: Tensor = gap.detach() + EPS * slope.abs().flatten(1).sum(dim=1) > -1e-6
    return possible


def choices(model: nn.Module, split: Split, target: str | int) -> Tensor:
    if isinstance(target, int):
        return torch.full_like(split.labels, target)
    if target == "next":
        return (split.labels + 1) % CLASSES
    if target == "least-likely":
        logits: Tensor = model(split.pixels(slice(None))).detach()
        return logits.argmin(dim=1)
    return (split.labels + int(target)) % CLASSES


@pytest.mark.parametrize("target", [0, 3, "next", "least-likely", "+2"])
def test_a_broken_image_has_the_target_class(
    model: nn.Module, split: Split, target: str | int, tmp_path: Path
) -> None:
    run = targeted(tmp_path, model, split, target)
    wanted = dict(zip(split.ids.tolist(), choices(model, split, target).tolist(), strict=True))
    can = dict(
        zip(split.ids.tolist(), reachable(model, split, choices(model, split, target)).tolist(), strict=True)
    )
    broken = {number: row for number, row in verdicts(run).items() if row["state"] == "broken"}
    assert all(int(row["prediction"]) == wanted[number] for number, row in broken.items())
    assert all(can[number] for number in broken)
    assert broken or target == "least-likely", "nothing was reached"
    assert run.results.goal
    assert run.results.goal in run.results.verdict
    own = [
        number
        for number, label in zip(split.ids.tolist(), split.labels.tolist(), strict=True)
        if label == target
    ]
    assert not broken.keys() & set(own)
    assert bool(run.results.remarks) == bool(own)


def test_a_target_is_harder_to_reach_than_any_wrong_class(
    model: nn.Module, split: Split, tmp_path: Path
) -> None:
    free = evaluate(tmp_path / "free", model, split, attacks="pgd(steps=20)").results
    one = targeted(tmp_path / "one", model, split, "next").results
    assert free.goal == ""
    assert one.robust.value > free.robust.value
    assert one.clean == free.clean


def test_all_targets_make_a_table(model: nn.Module, split: Split, tmp_path: Path) -> None:
    run = targeted(tmp_path / "all", model, split, "all")
    counts = {(count.label, count.target): count for count in run.results.targets}
    right = [row for row in verdicts(run).values() if row["state"] != "misclassified"]
    assert len(counts) == CLASSES * (CLASSES - 1)
    for (label, _), count in counts.items():
        assert count.tried == sum(int(row["label"]) == label for row in right)
    for offset, target in ((1, "next"), (2, "+2"), (3, "+3")):
        alone = targeted(tmp_path / target, model, split, target)
        broken = [row for row in verdicts(alone).values() if row["state"] == "broken"]
        for label in range(CLASSES):
            found = counts[label, (label + offset) % CLASSES].reached
            assert found == sum(int(row["label"]) == label for row in broken), (label, offset)
    states_of_all = states(run)
    for target in ("next", "+2", "+3"):
        for number, state in states(load_run(tmp_path / target)).items():  # type: ignore[arg-type]
            assert state != "broken" or states_of_all[number] == "broken"
    assert sum(count.reached for count in counts.values()) > sum(
        s == "broken" for s in states_of_all.values()
    )


def test_the_ledger_keeps_success(model: nn.Module, split: Split, tmp_path: Path) -> None:
    run = targeted(tmp_path, model, split, "next")
    rows = table(tmp_path, "outcomes", "key, image_id, label, prediction, success")
    attack = [row for row in rows if "pgd" in row[0]]
    assert attack
    assert all(
        success == (prediction == (label + 1) % CLASSES) for _, _, label, prediction, success in attack
    )
    broken = {number for number, state in states(run).items() if state == "broken"}
    assert {number for key, number, _, _, success in attack if success and "verified" in key} == broken


def test_another_target_is_another_evaluation(model: nn.Module, split: Split, tmp_path: Path) -> None:
    targeted(tmp_path, model, split, "next")
    with pytest.raises(RunError, match="target"):
        targeted(tmp_path, model, split, "least-likely")


def test_the_same_call_resumes(model: nn.Module, split: Split, tmp_path: Path) -> None:
    first, progress = targeted(tmp_path, model, split, "all"), Notes()
    again = evaluate(tmp_path, model, split, progress, attacks="pgd(steps=20)", target="all")
    assert {state for _, state in progress.states} == {"kept"}
    assert again.results.targets == first.results.targets


def test_checks_look_for_the_same_target(model: nn.Module, split: Split, tmp_path: Path) -> None:
    weak = evaluate(
        tmp_path, model, split, attacks="fgsm", target="next", checks=True, threat="linf(eps=0.05)"
    ).results
    found = {check.id: check for check in weak.checks}
    assert not [check.found for check in weak.checks if check.found.startswith("could not be computed")]
    assert found["more-steps"].grade in {"pass", "warn", "fail"}


@pytest.mark.parametrize("wrong", [4, "4", -1, "nearest", "", "targeted(classes=9)"])
def test_a_wrong_target_is_named(model: nn.Module, split: Split, wrong: str | int, tmp_path: Path) -> None:
    with pytest.raises(SpecError):
        targeted(tmp_path, model, split, wrong)
    assert not (tmp_path / "results.json").exists()


def test_an_attack_that_knows_no_target_is_refused(model: nn.Module, split: Split, tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="can't move towards a target class"):
        evaluate(tmp_path, model, split, attacks="corruption(effect=fog)", target="next", threat="unbounded")


def test_results_say_what_was_wanted(model: nn.Module, split: Split, tmp_path: Path) -> None:
    targeted(tmp_path, model, split, "next")
    content = json.loads((tmp_path / "results.json").read_text())
    assert content["goal"] == "the class after the label"
    assert content["rows"][0]["attack"].endswith(" for targeted(classes=next)")
