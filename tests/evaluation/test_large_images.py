"""Evaluations of large images: what their checks cost, and the names of their classes."""

from pathlib import Path
from typing import Any

import pytest
import torch
from evaluation_runs import evaluate
from torch import Tensor, nn

from robustlab.data import Split
from robustlab.evaluation.checks.allowance import LEAST_PASSES
from robustlab.evaluation.coordinator.goals import criteria_of, goal_of
from robustlab.evaluation.images import load_images
from robustlab.runs.evaluation import Evaluation

UNLIMITED = 200
"""No-gradient, which runs before the attacks and always gets its images."""


class Striped(nn.Module):
    """Classifies by the mean colours."""

    def forward(self, images: Tensor) -> Tensor:
        return 20 * images.mean(dim=(2, 3))


def coloured(n: int, size: int = 65) -> Split:
    pixels = torch.rand(n, 3, size, size, generator=torch.Generator().manual_seed(0))
    labels = torch.arange(n) % 3
    pixels[torch.arange(n), labels] = 0.6 + 0.4 * pixels[torch.arange(n), labels]
    return Split.of(pixels.mul(255).round().to(torch.uint8), labels, name="test")


def costs(results: Evaluation) -> tuple[int, int]:
    """Return the passes of the checks and of the attacks."""
    checks = sum(check.forwards + check.backwards for check in results.checks)
    return checks, sum(row.forwards + row.backwards for row in results.rows)


@pytest.mark.parametrize(
    ("attacks", "threat"),
    [
        ("fgsm", "linf(eps=1/255)"),
        ("fgsm", "linf(eps=0.3)"),
        ("pgd(steps=40)", "l2(eps=0.5)"),
        ("fgsm, square(queries=300)", "linf(eps=0.02)"),
        ("pgd(steps=5), random_points(count=400)", "linf(eps=0.01)"),
        ("gaussian_noise(std=0.1)", "unbounded()"),
    ],
)
def test_checks_cost_no_more_than_the_attacks(tmp_path: Path, attacks: str, threat: str) -> None:
    model, split = Striped().eval(), coloured(60)
    results = evaluate(tmp_path, model, split, attacks=attacks, threat=threat, checks=True, n=12).results
    of_checks, of_attacks = costs(results)
    assert of_checks <= max(of_attacks, LEAST_PASSES) + UNLIMITED
    ran = {check.id for check in results.checks if check.grade != "skip"}
    assert ran >= {"preprocessing", "randomness", "batch-dependence", "state-changes"}
    reasons = [check.found for check in results.checks if check.found.startswith("not run")]
    assert bool(reasons) == (results.robust.value > 0 and of_attacks < 30_000 and "unbounded" not in threat)


def test_at_0_percent_only_checks_run_that_could_change_the_answer(tmp_path: Path) -> None:
    options: Any = {"attacks": "pgd(steps=10), square", "threat": "linf(eps=0.5)"}
    results = evaluate(tmp_path, Striped().eval(), coloured(60), checks=True, n=12, **options).results
    assert results.robust.value == 0
    asked = {check.id for check in results.checks if check.forwards}
    assert asked == {"preprocessing", "randomness", "batch-dependence", "state-changes"}


def test_a_wrong_scale_is_found_however_few_passes_the_attacks_take(tmp_path: Path) -> None:
    class Bright(nn.Module):
        """Expects images in 0..255: in [0, 1] it sees only black."""

        def forward(self, images: Tensor) -> Tensor:
            return images.mean(dim=(2, 3)) + torch.tensor([5.0, 0.0, 0.0])

    split = coloured(60)
    results = evaluate(tmp_path, Bright().eval(), split, attacks="fgsm", checks=True, n=20).results
    (check,) = (check for check in results.checks if check.id == "preprocessing")
    assert check.grade == "fail"
    assert "--scale 255" in check.found


def test_a_named_dataset_brings_its_class_names() -> None:
    assert load_images("digits").class_names == tuple("0123456789")
    assert load_images(coloured(3)).class_names == ()


def test_a_target_class_has_its_name() -> None:
    wanted = criteria_of(1, 3)
    assert goal_of(wanted, ("cat", "dog", "fox")) == "class 1, dog"
    assert goal_of(wanted, ("0", "1", "2")) == goal_of(wanted) == "class 1"
