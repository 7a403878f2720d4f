"""Attacks that look for the nearest success: on linear classifiers it is known, found by a solver."""

import dataclasses
import functools
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy.optimize import Bounds, LinearConstraint, milp, minimize
from torch import Tensor, nn

from conftest import linear_classifier, random_batch
from robustlab.attacks import (
    CW,
    DDN,
    EAD,
    FAB,
    FMN,
    Attack,
    AttackResult,
    DeepFool,
    Restarts,
    SigmaZero,
    SteepestMinNorm,
)
from robustlab.core import seeding
from robustlab.threats import L0, L1, L2, Linf, ThreatModel

Vector = NDArray[np.float64]
EVERYWHERE: dict[str, ThreatModel] = {
    "linf": Linf(eps=1.0),
    "l2": L2(eps=1e6),
    "l1": L1(eps=1e6),
    "l0": L0(eps=10**6),
}


@dataclasses.dataclass(frozen=True)
class Claim:
    """By what factor the found success may be farther than the nearest one.

    ``plain``: with one boundary to find, for every image. ``choice``: with several, for every image: none of
    these attacks can be sure to choose the right ones. ``slack`` comes on top: in pixel units what the attack
    can't resolve, in L0 one value more.
    """

    attack: Attack
    norm: str
    plain: float
    choice: float
    slack: float = 1e-4


CLAIMS = [
    Claim(CW(steps=150, binary_search_steps=6, initial_const=0.01, lr=0.02), "l2", 1.05, 1.15, 0.01),
    Claim(DeepFool(), "linf", 1.03, 1.4),
    Claim(DeepFool(), "l2", 1.03, 1.25),
    Claim(DDN(), "l2", 1.15, 1.15),
    Claim(EAD(steps=100, binary_search_steps=6, initial_const=0.01), "l1", 1.15, 1.25, 0.05),
    Claim(FAB(targets=2), "linf", 1.02, 1.25),
    Claim(FAB(targets=2), "l2", 1.02, 1.1),
    Claim(FAB(targets=2), "l1", 1.02, 1.25),
    Claim(FAB(targets=0), "linf", 1.02, 1.25),
    Claim(FMN(), "linf", 1.01, 1.2),
    Claim(FMN(), "l2", 1.01, 1.15),
    Claim(FMN(), "l1", 1.01, 1.3),
    Claim(FMN(), "l0", 1.25, 1.25, 1.0),
    Claim(SteepestMinNorm(), "linf", 1.02, 1.2),
    Claim(SteepestMinNorm(), "l2", 1.02, 1.2),
    Claim(SteepestMinNorm(), "l1", 1.05, 1.3),
    Claim(SigmaZero(steps=200), "l0", 1.01, 1.1, 1.0),
]
every_claim = pytest.mark.parametrize("claim", CLAIMS, ids=lambda c: f"{c.attack}-{c.norm}")


def nearest_distance(norm: str, image: Vector, rows: Vector, limits: Vector) -> float:
    """Return the distance to the nearest z in [0, 1] with ``rows @ z >= limits``; inf if there is none."""
    size, gap = len(image), limits - rows @ image
    # The moves, and what bounds them: one number above all, or one each, a whole one where moves are counted.
    bound = np.ones((size, 1)) if norm == "linf" else np.eye(size)
    extra, one_each = bound.shape[1], np.eye(size)
    found = milp(
        np.concatenate([np.zeros(size), np.ones(extra)]),
        constraints=[
            LinearConstraint(np.hstack([rows, np.zeros((len(rows), extra))]), gap, np.inf),
            LinearConstraint(np.hstack([one_each, -bound]), -np.inf, 0),
            LinearConstraint(np.hstack([-one_each, -bound]), -np.inf, 0),
        ],
        bounds=Bounds(np.append(-image, np.zeros(extra)), np.append(1 - image, np.ones(extra))),
        integrality=np.append(np.zeros(size), np.full(extra, norm == "l0")),
    )
    if not found.success:
        return np.inf
    if norm != "l2":
        return float(found.fun)
    square = minimize(
        lambda moves: moves @ moves,
        found.x[:size],
        jac=lambda moves: 2 * moves,
        method="SLSQP",
        bounds=Bounds(-image, 1 - image),
        constraints=[{"type": "ineq", "fun": lambda moves: rows @ moves - gap, "jac": lambda _: rows}],
        options={"maxiter": 500, "ftol": 1e-12},
    )
    assert square.success, square.message
    return float(np.sqrt(square.fun))


def nearest_distances(norm: str, case: "Case") -> Tensor:
    layer: Any = case.model.get_submodule("1")
    weight, bias = (tensor.detach().double().numpy() for tensor in (layer.weight, layer.bias))
    found = []
    for i, image in enumerate(case.images.double().flatten(1).numpy()):
        if case.targets is None:
            # One other class above the label.
            label = int(case.labels[i])
            others = [[k] for k in range(len(weight)) if k != label]
            ways = [(weight[k] - weight[label], bias[label] - bias[k]) for k in others]
        else:
            target = int(case.targets[i])
            rivals = [k for k in range(len(weight)) if k != target]
            ways = [(weight[target] - weight[rivals], bias[rivals] - bias[target])]
        found.append(min(nearest_distance(norm, image, rows, limits) for rows, limits in ways))
    return torch.tensor(found)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Case:
    model: nn.Module
    images: Tensor
    labels: Tensor
    ids: Tensor
    targets: Tensor | None = None


def linear_case(shape: tuple[int, int, int], n: int, classes: int, targeted: bool) -> Case:
    model = linear_classifier(classes=classes, shape=shape, seed=5)
    batch = random_batch(n, shape=shape, seed=2)
    # Stretched beyond the box and clipped: many pixels are black or white.
    images = (2 * batch.images - 0.5).clamp(0, 1)
    with torch.no_grad():
        labels = model(images).argmax(dim=1)
    targets = (labels + 1) % classes if targeted else None
    return Case(model=model, images=images, labels=labels, ids=batch.ids, targets=targets)


@functools.cache
def solved(norm: str, *choice: Any) -> tuple[Case, Tensor]:
    case = linear_case(*choice)
    return case, nearest_distances(norm, case)


def run(attack: Attack, case: Case, threat: ThreatModel, **more: Any) -> AttackResult:
    settings = {"ids": case.ids, "targets": case.targets, "early_stop": False, **more}
    return attack.run(case.model, case.images, case.labels, threat, **settings)


# Shape, images, classes, whether towards a target.
CASES = [
    ((1, 2, 4), 8, 2, False),
    ((1, 4, 6), 3, 3, True),
    ((3, 5, 7), 3, 3, False),
    ((3, 5, 7), 1, 2, True),
]


@pytest.mark.parametrize(("shape", "n", "classes", "targeted"), CASES)
@every_claim
def test_the_nearest_success_is_found(
    claim: Claim,
    shape: tuple[int, int, int],
    n: int,
    classes: int,
    targeted: bool,
) -> None:
    case, nearest = solved(claim.norm, shape, n, classes, targeted)
    assert nearest.isfinite().all()
    result = run(claim.attack, case, EVERYWHERE[claim.norm])
    assert result.successes.all()
    found, factor = result.distances.double(), claim.plain if classes == 2 else claim.choice
    assert (found >= nearest * (1 - 1e-4) - 1e-6).all()  # or the solver is wrong
    assert (found <= factor * nearest + claim.slack).all(), found / nearest


# What is not as usual

ATTACKS = [
    (CW(steps=40, binary_search_steps=4, initial_const=0.1, lr=0.05), "l2"),
    (DeepFool(), "linf"),
    (DDN(steps=30), "l2"),
    (EAD(steps=20, binary_search_steps=4, initial_const=0.1), "l1"),
    (FAB(steps=20, targets=2), "linf"),
    (FAB(steps=20, targets=0), "l1"),
    (FMN(steps=30), "linf"),
    (FMN(steps=30), "l0"),
    (SteepestMinNorm(steps=30), "l2"),
    (SigmaZero(steps=30), "l0"),
]
every_attack = pytest.mark.parametrize(("attack", "norm"), ATTACKS, ids=[f"{a}-{n}" for a, n in ATTACKS])
SHAPE = (1, 4, 6)


def bumpy(dual_norm: float) -> nn.Module:
    with seeding.isolated(0):
        network = nn.Sequential(nn.Flatten(), nn.Linear(24, 30), nn.Tanh(), nn.Linear(30, 4))
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.mul_(dual_norm)
    return network.eval()


def bumpy_case(n: int = 30, dual_norm: float = 4) -> Case:
    model, batch = bumpy(dual_norm), random_batch(n, shape=SHAPE)
    with torch.no_grad():
        labels = model(batch.images).argmax(dim=1)
    return Case(model=model, images=batch.images, labels=labels, ids=batch.ids)


@every_attack
def test_a_misclassified_image_is_its_own_nearest_success(attack: Attack, norm: str) -> None:
    case = bumpy_case()
    wrong = torch.arange(30) % 3 == 0
    case = dataclasses.replace(case, labels=torch.where(wrong, (case.labels + 1) % 4, case.labels))
    result = run(attack, case, EVERYWHERE[norm])
    assert result.successes[wrong].all()
    assert torch.equal(result.images[wrong], case.images[wrong])
    assert not result.distances[wrong].any()
    assert (result.restarts[wrong] == -1).all()
    assert (result.distances[~wrong & result.successes] > 0).all()


@every_attack
def test_a_target_that_is_reached_already_is_at_distance_0(attack: Attack, norm: str) -> None:
    case = bumpy_case()
    wrong = dataclasses.replace(case, labels=(case.labels + 1) % 4, targets=case.labels)
    result = run(attack, wrong, EVERYWHERE[norm])
    assert result.successes.all()
    assert not result.distances.any()


@pytest.mark.parametrize("early_stop", [True, False])
@every_attack
def test_where_nothing_is_found_the_clean_image_is_returned(
    attack: Attack, norm: str, early_stop: bool
) -> None:
    case = bumpy_case()
    threat = L0(eps=0) if norm == "l0" else dataclasses.replace(EVERYWHERE[norm], eps=1e-5)  # type: ignore[type-var]
    result = run(attack, case, threat, early_stop=early_stop)
    assert not result.successes.any()
    assert torch.equal(result.images, case.images)
    assert (result.restarts == -1).all()


class Flat(nn.Module):
    """Has no gradient: class 1 from a mean brightness of ``level`` on."""

    def __init__(self, level: float) -> None:
        super().__init__()
        self.level = level

    def forward(self, x: Tensor) -> Tensor:
        bright = (x.flatten(1).mean(dim=1) > self.level).float()
        return torch.stack([1 - bright, bright], dim=1) + 0 * x.flatten(1)[:, :2]


@every_attack
def test_without_a_gradient_nothing_breaks(attack: Attack, norm: str) -> None:
    images = random_batch(6, shape=SHAPE).images
    labels = torch.zeros(6, dtype=torch.int64)
    case = Case(model=Flat(2.0).eval(), images=images, labels=labels, ids=torch.arange(6))
    result = run(attack, case, EVERYWHERE[norm])
    assert torch.equal(result.images, images)
    assert not result.successes.any()


@every_attack
def test_each_image_has_its_own_radius(attack: Attack, norm: str) -> None:
    case = bumpy_case()
    free = run(attack, case, EVERYWHERE[norm])
    assert free.successes.all()
    wide = torch.arange(30) % 2 == 0
    eps = torch.where(wide, 1.1, 0.5) * free.distances
    result = run(attack, case, EVERYWHERE[norm], eps=eps)
    assert (result.distances <= eps * (1 + 1e-6) + 1e-6).all()
    assert result.successes[wide].float().mean() > 0.8
    assert result.successes[~wide].float().mean() < 0.2


@every_attack
def test_a_verdict_stops_at_the_first_success_within_eps(attack: Attack, norm: str) -> None:
    case = bumpy_case()
    free = run(attack, case, EVERYWHERE[norm])
    verdict = run(attack, case, EVERYWHERE[norm], early_stop=True, batch_size=1)
    assert torch.equal(verdict.successes, free.successes)
    assert verdict.successes.float().mean() > 0.9
    assert (verdict.distances >= free.distances * (1 - 1e-5)).all()
    if not isinstance(attack, DeepFool):  # which never goes on after a success
        assert (verdict.backwards < free.backwards)[free.successes].all()


@pytest.mark.parametrize(
    ("few", "many", "norm"),
    [
        (DeepFool(steps=2), DeepFool(steps=8), "l2"),
        (FAB(steps=4, targets=2), FAB(steps=16, targets=2), "linf"),
        (FAB(steps=4, targets=0), FAB(steps=16, targets=0), "l2"),
        (FAB(steps=8, targets=1), FAB(steps=8, targets=3), "l1"),
        (
            CW(steps=30, binary_search_steps=2, initial_const=1.0),
            CW(steps=30, binary_search_steps=5, initial_const=1.0),
            "l2",
        ),
        (
            EAD(steps=20, binary_search_steps=2, initial_const=1.0),
            EAD(steps=20, binary_search_steps=5, initial_const=1.0),
            "l1",
        ),
        (SteepestMinNorm(steps=20), Restarts(attack=SteepestMinNorm(steps=20), times=3), "linf"),
    ],
    ids=repr,
)
def test_more_of_the_same_search_finds_nothing_farther(few: Attack, many: Attack, norm: str) -> None:
    case = bumpy_case()
    one, other = run(few, case, EVERYWHERE[norm]), run(many, case, EVERYWHERE[norm])
    assert (other.successes | ~one.successes).all()
    found = one.successes
    assert (other.distances <= one.distances + 1e-5)[found].all()
    assert (other.distances < one.distances - 1e-4)[found].any() or other.successes.sum() > found.sum()


@pytest.mark.parametrize(
    ("few", "many", "norm"),
    [
        (DDN(steps=15), DDN(steps=150), "l2"),
        (FMN(steps=10), FMN(steps=100), "linf"),
        (FMN(steps=10), FMN(steps=100), "l2"),
        (FMN(steps=10), FMN(steps=100), "l1"),
        (FMN(steps=10), FMN(steps=100), "l0"),
        (SteepestMinNorm(steps=10), SteepestMinNorm(steps=100), "linf"),
        (SteepestMinNorm(steps=10), SteepestMinNorm(steps=100), "l2"),
        (SteepestMinNorm(steps=10), SteepestMinNorm(steps=100), "l1"),
        (SigmaZero(steps=20), SigmaZero(steps=200), "l0"),
    ],
    ids=repr,
)
def test_more_steps_come_nearer_in_the_mean(few: Attack, many: Attack, norm: str) -> None:
    # Their schedules stretch with the number of steps: image by image nothing is promised.
    case = bumpy_case()
    one, other = run(few, case, EVERYWHERE[norm]), run(many, case, EVERYWHERE[norm])
    assert other.successes.all()
    found = one.successes
    assert other.distances[found].mean() < 0.99 * one.distances[found].mean() or found.sum() < 30


def test_further_restarts_of_fab_begin_at_random_points() -> None:
    case, threat = bumpy_case(dual_norm=20), Linf(eps=0.1)
    one = run(FAB(steps=6, targets=2), case, threat)
    more = run(FAB(steps=6, targets=2, restarts=8), case, threat)
    assert (more.distances <= one.distances + 1e-6)[one.successes].all()
    assert (more.restarts >= 2).any()
    again = run(FAB(steps=6, targets=2, restarts=8), case, threat, seed=1)
    assert not torch.equal(again.images, more.images)


def test_cw_moves_pixels_that_are_black_or_white() -> None:
    case = linear_case((3, 5, 7), 8, 2, False)
    case = dataclasses.replace(case, images=case.images.round())
    with torch.no_grad():
        labels = case.model(case.images).argmax(dim=1)
    case = dataclasses.replace(case, labels=labels)
    result = run(CW(steps=300, binary_search_steps=6, initial_const=0.01), case, EVERYWHERE["l2"])
    assert result.successes.all()
    assert (result.distances <= 1.05 * nearest_distances("l2", case) + 0.01).all()


def test_cw_wins_by_its_confidence() -> None:
    case = linear_case((3, 5, 7), 8, 3, False)
    sure = run(
        CW(steps=100, binary_search_steps=4, initial_const=0.1, confidence=2.0), case, EVERYWHERE["l2"]
    )
    plain = run(CW(steps=100, binary_search_steps=4, initial_const=0.1), case, EVERYWHERE["l2"])
    assert sure.successes.all()
    assert plain.successes.all()


def test_cw_aborts_what_brings_nothing() -> None:
    case = linear_case((1, 4, 6), 8, 3, False)
    short = run(CW(steps=600, binary_search_steps=3, initial_const=0.01), case, EVERYWHERE["l2"])
    full = run(
        CW(steps=600, binary_search_steps=3, initial_const=0.01, abort_early=False), case, EVERYWHERE["l2"]
    )
    assert (full.backwards == 1800).all()
    assert short.backwards.float().mean() < 1000
    assert (short.distances <= 1.02 * full.distances + 0.01).all()
