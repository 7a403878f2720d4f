"""A goal of the user's own: a success may keep the class, so that no proof of the class excludes it."""

import csv
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from evaluation_runs import SHAPE, evaluate, grey_split
from torch import Tensor, nn

from robustlab.attacks import Criterion
from robustlab.attacks.criteria import Observation
from robustlab.core import register
from robustlab.data import Split
from robustlab.report import write_report
from robustlab.runs.run import load_run

LIMIT = 0.9

pytestmark = pytest.mark.usefixtures("own_registry")


@pytest.fixture
def model(make_linear: Callable[..., nn.Module]) -> nn.Module:
    linear = make_linear(classes=4, shape=SHAPE, seed=2)
    with torch.no_grad():
        for parameter in linear.parameters():
            parameter.mul_(20)
    return linear


@pytest.fixture
def split(model: nn.Module) -> Split:
    images = grey_split(model, n=80)
    sure = model(images.pixels(slice(None))).softmax(dim=1).amax(dim=1) > LIMIT
    assert 20 < sure.sum() < len(images), "some images reach the goal as they are"
    return images


def unsure() -> Criterion:
    @register("unsure")
    class Unsure(Criterion):
        """The highest probability is below a limit, in any class."""

        def reached(self, seen: Observation) -> Tensor:
            return seen.valid & (seen.logits.softmax(dim=1).amax(dim=1) < LIMIT)

        def loss(self, loss: str, seen: Observation, rivals: Tensor | None = None) -> Tensor:
            del loss, rivals
            return -seen.logits.softmax(dim=1).amax(dim=1)

    return Unsure()


def attacked(folder: Path, model: nn.Module, split: Split, **options: Any) -> Any:
    return evaluate(
        folder,
        model,
        split,
        attacks="pgd(steps=20), standard",
        target=unsure(),
        threat="linf(eps=0.02)",
        checks=True,
        **options,
    )


@pytest.mark.parametrize("certifier", ["auto", "ibp"])
def test_it_is_reached_in_the_label_too(
    model: nn.Module, split: Split, tmp_path: Path, certifier: str
) -> None:
    run = attacked(tmp_path / "run", model, split, certifier=certifier)
    with (run.folder / "images.csv").open() as file:
        rows = list(csv.DictReader(file))
    broken = [row for row in rows if row["state"] == "broken"]
    assert any(row["prediction"] == row["label"] for row in broken)
    assert all(float(row["confidence"]) < LIMIT for row in broken)
    assert {row["state"] for row in rows} == {"broken", "robust", "misclassified"}
    assert run.results.certified is None
    assert run.results.goal == "unsure()"
    assert not [check.id for check in run.results.checks if check.grade == "fail"]
    assert next(check for check in run.results.checks if check.id == "extreme-eps").grade == "skip"
    assert load_run(run.folder).results == run.results
    assert write_report(run.folder).is_file()
