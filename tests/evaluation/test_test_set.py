"""The mode "test-set": every image is perturbed once, and the accuracy counts all of them."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from evaluation_runs import SHAPE, evaluate, grey_split, states, verdicts
from torch import nn

import robustlab
from robustlab.attacks import FGSM, Attack, GaussianNoise
from robustlab.data import Split
from robustlab.threats import Linf, ThreatModel, Unbounded

NOISE, STEP = GaussianNoise(std=0.08), FGSM()
BALL = Linf(eps=0.02)


@pytest.fixture
def model(make_linear: Callable[..., nn.Module]) -> nn.Module:
    return make_linear(classes=4, shape=SHAPE, seed=2)


@pytest.fixture
def split(model: nn.Module) -> Split:
    """Images of which the first ones are misclassified as they are."""
    return grey_split(model, wrong=20)


def perturbed(model: nn.Module, split: Split, attack: Attack, threat: ThreatModel) -> list[bool]:
    """Return which images are right after an attack on all of them."""
    pixels = split.pixels(slice(None))
    result = attack.run(model, pixels, split.labels, threat, ids=split.ids, early_stop=False)
    found: list[bool] = (model(result.images).argmax(dim=1) == split.labels).tolist()
    return found


@pytest.mark.parametrize(("attack", "threat"), [(NOISE, Unbounded()), (STEP, BALL)], ids=str)
def test_the_accuracy_counts_the_images_as_the_attack_left_them(
    attack: Attack, threat: ThreatModel, model: nn.Module, split: Split, tmp_path: Path
) -> None:
    run = evaluate(tmp_path, model, split, attacks=repr(attack), threat=threat, mode="test-set")
    (row,) = run.results.rows
    right = perturbed(model, split, attack, threat)
    assert row.accuracy is not None
    assert row.accuracy.value == pytest.approx(sum(right) / len(right))
    assert row.accuracy.n == len(split)
    before = [state != "misclassified" for state in states(run).values()]
    assert row.robust.value == pytest.approx(
        sum(was and is_ for was, is_ in zip(before, right, strict=True)) / len(right)
    )


def test_an_image_that_the_attack_made_right_counts_and_is_not_robust(
    model: nn.Module, split: Split, tmp_path: Path
) -> None:
    right = perturbed(model, split, NOISE, Unbounded())
    run = evaluate(tmp_path, model, split, attacks=repr(NOISE), threat="unbounded", mode="test-set")
    made_right = [
        number
        for number, is_right, state in zip(split.ids.tolist(), right, states(run).values(), strict=True)
        if is_right and state == "misclassified"
    ]
    assert made_right, "or this test says nothing"
    (row,) = run.results.rows
    assert row.accuracy is not None
    assert round((row.accuracy.value - row.robust.value) * len(split)) == len(made_right)
    assert row.robust == run.results.robust
    assert row.robust.value <= run.results.clean.value
    assert all(verdicts(run)[number]["state"] == "misclassified" for number in made_right)


def test_several_attacks_have_one_accuracy_each(model: nn.Module, split: Split, tmp_path: Path) -> None:
    names = ["fgsm", "pgd(steps=5)", "random_points(count=2)"]
    run = evaluate(tmp_path / "all", model, split, attacks=", ".join(names), mode="test-set")
    for row, name in zip(run.results.rows, names, strict=True):
        alone = evaluate(tmp_path / name, model, split, attacks=name, mode="test-set")
        # Each perturbs the clean images, whatever the ones before it broke.
        assert row.accuracy == alone.results.rows[0].accuracy
        assert row.accuracy is not None
        assert row.robust.value <= run.results.clean.value
    left = [row.robust.value for row in run.results.rows]
    assert left == sorted(left, reverse=True)
    assert run.results.robust.value == left[-1]
    assert run.results.robust.value <= min(r.accuracy.value for r in run.results.rows if r.accuracy)
    assert robustlab.load_run(run.folder).results == run.results


@pytest.mark.parametrize("mode", ["verdict", "max-loss"])
def test_the_other_modes_have_none(mode: str, model: nn.Module, split: Split, tmp_path: Path) -> None:
    run = evaluate(tmp_path, model, split, attacks="fgsm", mode=mode)
    assert [row.accuracy for row in run.results.rows] == [None]
    right = perturbed(model, split, STEP, BALL)
    clean = (model(split.pixels(slice(None))).argmax(dim=1) == split.labels).tolist()
    both = torch.tensor(right) & torch.tensor(clean)
    assert run.results.robust.value == pytest.approx(both.float().mean().item())
