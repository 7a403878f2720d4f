"""Which adversarial images a finished evaluation keeps: of each broken image the one that broke it."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from evaluation_runs import SHAPE, Notes, evaluate, grey_split, states, table, verdicts
from torch import nn

from robustlab.data import Split
from robustlab.evaluation.adversarial import adversarial_of
from robustlab.runs.run import EvaluationFolder

OPTIONS: list[dict[str, Any]] = [
    {"attacks": "fgsm", "curve": True},
    {"attacks": "fmn(steps=140), steepest_min_norm(steps=50)", "curve": True},
    {"attacks": "fgsm, pgd(steps=10)", "mode": "test-set"},
    {"attacks": "fgsm, pgd(steps=10)", "target": "all"},
]


@pytest.fixture
def model(make_linear: Callable[..., nn.Module]) -> nn.Module:
    return make_linear(classes=3, shape=SHAPE, seed=2)


@pytest.fixture
def split(model: nn.Module) -> Split:
    return grey_split(model)


def kept(run: EvaluationFolder) -> list[int]:
    return sorted(number for number, image in table(run.folder, "examples", "image_id, image") if image)


def broken(run: EvaluationFolder) -> list[int]:
    return sorted(number for number, state in states(run).items() if state == "broken")


def check_the_images(run: EvaluationFolder, model: nn.Module, split: Split) -> None:
    """Check what every success must be: inside the ball, another class, at the distance of the verdict."""
    found = adversarial_of(run)
    place = {number: row for row, number in enumerate(split.ids.tolist())}
    clean = split.pixels(slice(None))[[place[number] for number in found.ids.tolist()]]
    moved = (found.images - clean).flatten(1).abs().amax(dim=1)
    said = torch.tensor([float(verdicts(run)[number]["distance"]) for number in found.ids.tolist()])
    assert torch.allclose(moved, said, atol=1e-6)
    assert (moved <= 0.02 + 1e-6).all()
    assert (model(found.images).argmax(dim=1) != found.labels).all()


@pytest.mark.parametrize("options", OPTIONS, ids=["curve", "its own searches", "test-set", "targets"])
def test_one_image_is_kept_of_each_broken_one(
    options: dict[str, Any], model: nn.Module, split: Split, tmp_path: Path
) -> None:
    run = evaluate(tmp_path, model, split, **options)
    assert len(broken(run)) > 10
    assert kept(run) == broken(run)
    check_the_images(run, model, split)


@pytest.mark.parametrize("options", OPTIONS, ids=["curve", "its own searches", "test-set", "targets"])
def test_the_same_command_looks_for_none_of_the_dropped_ones(
    options: dict[str, Any], model: nn.Module, split: Split, tmp_path: Path
) -> None:
    first = evaluate(tmp_path, model, split, **options)
    notes = Notes()
    again = evaluate(tmp_path, model, split, notes, **options)
    assert not [name for name, state in notes.states if state == "running"]
    assert verdicts(again) == verdicts(first)
    assert kept(again) == broken(first)


def test_fewer_images_drop_nothing_of_the_others(model: nn.Module, split: Split, tmp_path: Path) -> None:
    options: dict[str, Any] = {"attacks": "fgsm, pgd(steps=10)", "curve": True}
    whole = evaluate(tmp_path, model, split, **options)
    before = kept(whole)
    evaluate(tmp_path, model, split, n=15, **options)
    notes = Notes()
    assert kept(evaluate(tmp_path, model, split, notes, **options)) == before
    assert not [name for name, state in notes.states if state == "running"]


def test_in_another_order_the_dropped_ones_are_looked_for_again(
    model: nn.Module, split: Split, tmp_path: Path
) -> None:
    options: dict[str, Any] = {"mode": "test-set", "attacks": "fgsm, pgd(steps=10)"}
    first = evaluate(tmp_path / "one", model, split, **options)
    turned: dict[str, Any] = {"mode": "test-set", "attacks": "pgd(steps=10), fgsm"}
    again = evaluate(tmp_path / "one", model, split, **turned)
    assert broken(first) == broken(again) == kept(again)
    check_the_images(again, model, split)
    fresh = evaluate(tmp_path / "two", model, split, **turned)
    assert verdicts(again) == verdicts(fresh)
    assert torch.equal(adversarial_of(again).images, adversarial_of(fresh).images)
