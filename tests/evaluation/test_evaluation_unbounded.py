"""Evaluations without a bound: rotations, translations, corruptions and noise, and what is asked of them."""

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any, get_args

import pytest
import torch
from evaluation_runs import SHAPE, evaluate, grey_split, split_of, verdicts
from torch import Tensor, nn

from robustlab import report
from robustlab.attacks.corruption import Effect
from robustlab.core.errors import SpecError
from robustlab.evaluation.ensembles import AutoAttack, Standard
from robustlab.threats import Unbounded

UNBOUNDED: dict[str, Any] = {"threat": "unbounded", "checks": True}
BY_DISTANCE = {"one-step-beats-many", "accuracy-grows-with-eps", "extreme-eps", "gradient-free-attack"}


class Upright(nn.Module):
    """Says 0 where the picture is the given one, and the more 1 the more it differs."""

    def __init__(self, picture: Tensor, limit: float) -> None:
        super().__init__()
        self.register_buffer("picture", picture)
        self.limit = limit

    def forward(self, x: Tensor) -> Tensor:
        picture = self.get_buffer("picture")
        off = (x - picture).flatten(1).abs().mean(dim=1)
        return torch.stack([self.limit - off, off - self.limit], dim=1)


def bar() -> Tensor:
    """Return an upright bar (1, 1, 11, 11)."""
    picture = torch.zeros(1, 1, 11, 11)
    picture[..., 1:10, 4:7] = 1.0
    return picture


@pytest.fixture
def model(make_linear: Callable[..., nn.Module]) -> nn.Module:
    return make_linear(classes=4, shape=SHAPE, seed=2)


def test_the_whole_way_raises_no_false_flag(model: nn.Module, tmp_path: Path) -> None:
    attacks = "gaussian_noise(std=0.01), corruption(effect=brightness, severity=1), "
    attacks += "rotation_translation(rotation=1, shift=0.05, angles=5, shifts=3)"
    run = evaluate(tmp_path, model, grey_split(model), attacks=attacks, certify=True, **UNBOUNDED)
    results = run.results
    assert 0 < results.robust.value < results.clean.value
    assert [row.attack.partition("(")[0] for row in results.rows] == [
        "gaussian_noise",
        "corruption",
        "rotation_translation",
    ]
    assert results.certified is None
    assert results.distances is None
    checks = {check.id: check for check in results.checks}
    assert not results.red_flags
    assert checks["stored-images"].grade == checks["randomness"].grade == "pass"
    for name in BY_DISTANCE:
        assert (checks[name].grade, checks[name].found) == ("skip", "unbounded() bounds no distance")
    broken = [row for row in verdicts(run).values() if row["state"] == "broken"]
    assert broken
    assert all(0 < float(row["distance"]) <= 1 for row in broken)
    page = report.write_report(run.folder).read_text()
    assert "in every way that the attacks below try" in page
    assert "eps" not in page.partition('id="checks"')[0]


def test_a_turned_picture_is_found_where_it_must_be(tmp_path: Path) -> None:
    picture = bar()
    split = split_of(picture.expand(6, -1, -1, -1).clone(), torch.zeros(6, dtype=torch.int64))
    for limit, left in ((0.01, 0.0), (0.5, 1.0)):
        grid = "rotation_translation(rotation=20, shift=0, angles=3, shifts=1)"
        model = Upright(picture, limit).eval()
        run = evaluate(tmp_path / str(limit), model, split, attacks=grid, **UNBOUNDED)
        assert run.results.robust.value == left


def test_the_standard_ensemble_is_every_corruption_then_the_grid() -> None:
    names = [attack.brief() for attack in Standard().stages(Unbounded(), 10)]
    assert names == [
        *(f"corruption(effect={effect})" for effect in get_args(Effect)),
        "rotation_translation()",
    ]
    assert AutoAttack().stages(Unbounded(), 10) == ()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"attacks": "pgd"}, "pgd supports threat models that bound a distance, not unb"),
        ({"attacks": "autoattack"}, "has no attack for unbounded"),
        (
            {"curve": True, "attacks": "standard"},
            "a curve against eps needs a threat model that",
        ),
        ({"threat": "unbounded(eps=0.3)"}, "unbounded has no argument 'eps'"),
        ({"threat": "linf(eps=1)", "attacks": "rotation_translation"}, "supports unbounded"),
    ],
)
def test_what_makes_no_sense_is_refused(
    options: dict[str, Any], message: str, model: nn.Module, tmp_path: Path
) -> None:
    with pytest.raises(SpecError, match=message):
        evaluate(tmp_path, model, grey_split(model), **({"threat": "unbounded"} | options))


class BlindSpot(nn.Module):
    """Errs where the bar is turned by about 15 degrees, between the points of a coarse grid."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("bar", bar())

    def forward(self, x: Tensor) -> Tensor:
        where = torch.linspace(-1, 1, 11)
        down, across = torch.meshgrid(where, where, indexing="ij")
        mass = x.flatten(1).sum(dim=1).clamp(min=1e-6)
        skew = (x.squeeze(1) * down * across).flatten(1).sum(dim=1) / mass
        spread = (x.squeeze(1) * (down.square() - across.square())).flatten(1).sum(dim=1) / mass
        angle = 0.5 * torch.atan2(2 * skew, spread).abs() * 180 / math.pi
        wrong = (angle - 15).abs() < 4
        return torch.stack([(~wrong).float(), wrong.float()], dim=1) + 0 * x.sum()


@pytest.mark.parametrize(("angles", "grade"), [(3, "fail"), (5, "skip")])
def test_a_grid_that_is_too_coarse_raises_its_flag(angles: int, grade: str, tmp_path: Path) -> None:
    split = split_of(bar().expand(8, -1, -1, -1).clone(), torch.zeros(8, dtype=torch.int64))
    grid = f"restarts(attack=rotation_translation(rotation=30, shift=0, angles={angles}, shifts=1), times=1)"
    results = evaluate(tmp_path, BlindSpot().eval(), split, attacks=grid, **UNBOUNDED).results
    found = next(check for check in results.checks if check.id == "random-moves")
    # With five angles the evaluation itself finds the gap, and no image is left to look at.
    assert (found.grade, results.robust.value) == (grade, 0.0 if grade == "skip" else 1.0), found.found
