"""Attacks that look for the nearest success, on linear classifiers, where it is known exactly."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from scipy.optimize import Bounds, LinearConstraint, linprog, milp, minimize
from torch import Tensor, nn

from robustlab.core.threat import L0, L1, L2, Linf, ThreatModel

EVERYWHERE: dict[str, ThreatModel] = {
    "linf": Linf(eps=1.0),
    "l2": L2(eps=1e6),
    "l1": L1(eps=1e6),
    "l0": L0(eps=10**6),
}


def nearest_distance(norm: str, image: np.ndarray, rows: np.ndarray, limits: np.ndarray) -> float:
    """Return the distance to the nearest z in [0, 1] with ``rows @ z >= limits``, by a solver; inf if none."""
    size = len(image)
    gap = limits - rows @ image
    low, high = -image, 1 - image
    none, eye = np.zeros((size, 1)), np.eye(size)
    if norm == "l2":
        first = linprog(np.zeros(size), A_ub=-rows, b_ub=-gap, bounds=np.stack([low, high], axis=1))
        if not first.success:
            return np.inf
        constraint = {"type": "ineq", "fun": lambda d: rows @ d - gap, "jac": lambda _: rows}
        found = minimize(
            lambda d: d @ d, first.x, jac=lambda d: 2 * d, bounds=Bounds(low, high), constraints=[constraint],
            options={"maxiter": 500, "ftol": 1e-12},
        )  # fmt: skip
        assert found.success, found.message
        return float(np.sqrt(found.fun))
    # The moves d, and what bounds them: one t above all |d|, or one each, a whole one if it counts the moved.
    bound = np.ones((size, 1)) if norm == "linf" else eye
    extra = bound.shape[1]
    constraints = [
        LinearConstraint(np.hstack([rows, np.zeros((len(rows), extra))]), gap, np.inf),
        LinearConstraint(np.hstack([eye, -bound]), -np.inf, 0),
        LinearConstraint(np.hstack([-eye, -bound]), -np.inf, 0),
    ]
    del none
    found = milp(
        np.concatenate([np.zeros(size), np.ones(extra)]),
        constraints=constraints,
        bounds=Bounds(np.concatenate([low, np.zeros(extra)]), np.concatenate([high, np.ones(extra)])),
        integrality=np.concatenate([np.zeros(size), np.full(extra, norm == "l0")]),
    )
    return float(found.fun) if found.success else np.inf


def oracle(model: nn.Module, norm: str, images: Tensor, labels: Tensor, targets: Tensor | None) -> Tensor:
    """Return (n,) the distances of the nearest successes in a linear classifier."""
    layer: Any = model.get_submodule("1")
    weight, bias = (t.detach().double().numpy() for t in (layer.weight, layer.bias))
    found = []
    for i, image in enumerate(images.double().flatten(1).numpy()):
        label = int(labels[i])
        others = [k for k in range(len(weight)) if k != label]
        if targets is None:
            # Any one other class above the label.
            ways = [(weight[[k]] - weight[label], bias[label] - bias[[k]]) for k in others]
        else:
            target = int(targets[i])
            rivals = [k for k in range(len(weight)) if k != target]
            ways = [(weight[target] - weight[rivals], bias[rivals] - bias[target])]
        found.append(min(nearest_distance(norm, image, rows, limits) for rows, limits in ways))
    return torch.tensor(found)
