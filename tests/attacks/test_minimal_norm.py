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
from robustlab.attacks import CW, DDN, EAD, FAB, FMN, Attack, AttackResult, DeepFool, SigmaZero
from robustlab.core.threat import L0, L1, L2, Linf, ThreatModel

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
    Claim(CW(steps=150, rounds=6, c=0.01, step=0.02), "l2", 1.05, 1.15, 0.01),
    Claim(DeepFool(), "linf", 1.03, 1.4),
    Claim(DeepFool(), "l2", 1.03, 1.25),
    Claim(DDN(), "l2", 1.15, 1.15),
    Claim(EAD(steps=100, rounds=6, c=0.01), "l1", 1.15, 1.25, 0.05),
    Claim(FAB(targets=2), "linf", 1.02, 1.25),
    Claim(FAB(targets=2), "l2", 1.02, 1.1),
    Claim(FAB(targets=2), "l1", 1.02, 1.25),
    Claim(FAB(targets=0), "linf", 1.02, 1.25),
    Claim(FMN(), "linf", 1.01, 1.2),
    Claim(FMN(), "l2", 1.01, 1.15),
    Claim(FMN(), "l1", 1.01, 1.3),
    Claim(FMN(), "l0", 1.25, 1.25, 1.0),
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
    settings = {"ids": case.ids, "targets": case.targets, "mode": "max-loss", **more}
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
