"""The bounds on tiny networks, against a linear and a mixed integer program, corners, and 10,000 points."""

from itertools import pairwise, product

import numpy as np
import pytest
import torch
from scipy.optimize import Bounds, LinearConstraint, milp
from torch import Tensor, nn

from robustlab.certify import CROWN, CROWNIBP, IBP, AlphaCROWN, BranchAndBound
from robustlab.certify.region import region
from robustlab.core import seeding
from robustlab.threats import Linf

BOUNDS: list[IBP | CROWNIBP | CROWN | AlphaCROWN] = [IBP(), CROWNIBP(), CROWN(), AlphaCROWN()]
IDS = [certifier.name for certifier in BOUNDS]
THREAT = Linf(eps=0.1)
N = 6


def network(seed: int, widths: tuple[int, ...] = (6, 8, 8, 3)) -> tuple[nn.Module, Tensor, Tensor]:
    """Return a network of linear layers and rectifiers on 2x3 pixels, and images with its classes."""
    with seeding.isolated(seed):
        layers: list[nn.Module] = [nn.Flatten()]
        for before, after in pairwise(widths):
            layers += [nn.Linear(before, after), nn.ReLU()]
        model = nn.Sequential(*layers[:-1]).eval()
        images = torch.rand(N, 1, 2, 3)
    with torch.no_grad():
        for layer in model:
            if isinstance(layer, nn.Linear):
                layer.weight.mul_(4.0 if layer is model[1] else 2.0)
        first = model[1]
        first.bias.sub_(first.weight.sum(dim=1) / 2)  # type: ignore[operator]
        return model, images, model(images).argmax(dim=1)


def optimum(model: nn.Module, image: Tensor, label: int, other: int, *, integer: bool) -> float:
    """Return the least difference of two logits, exactly, or with a triangle for each rectifier."""
    pixels = region(image[None], THREAT, torch.float64)
    low, high = [list(ends.flatten().numpy()) for ends in (pixels.lower, pixels.upper)]
    rows: list[tuple[dict[int, float], float, float]] = []
    whole = [0] * len(low)
    here = list(range(len(low)))

    def variable(lower: float, upper: float, *, binary: bool = False) -> int:
        low.append(lower)
        high.append(upper)
        whole.append(int(binary))
        return len(low) - 1

    for layer in model:  # type: ignore[attr-defined]
        if isinstance(layer, nn.Linear):
            weight, bias = (part.detach().double().numpy() for part in (layer.weight, layer.bias))
            ends = np.array([[low[i] for i in here], [high[i] for i in here]])
            after = []
            for w, b in zip(weight, bias, strict=True):
                least, most = (np.where(w > 0, ends[k], ends[1 - k]) @ w + b for k in (0, 1))
                after.append(variable(float(least), float(most)))
                terms = {after[-1]: -1.0} | dict(zip(here, w.tolist(), strict=True))
                rows.append((terms, -float(b), -float(b)))
            here = after
        elif isinstance(layer, nn.ReLU):
            after = []
            for x in here:
                least, most = low[x], high[x]
                y = variable(0.0, max(most, 0.0))
                after.append(y)
                rows.append(({y: 1.0, x: -1.0}, 0.0, np.inf))
                if least >= 0:
                    rows.append(({y: 1.0, x: -1.0}, 0.0, 0.0))
                elif most > 0:
                    on = variable(0.0, 1.0, binary=integer)
                    rows.append(({y: 1.0, x: -1.0, on: -least}, -np.inf, -least))
                    rows.append(({y: 1.0, on: -most}, -np.inf, 0.0))
            here = after
    matrix = np.zeros((len(rows), len(low)))
    for row, (terms, _, _) in zip(matrix, rows, strict=True):
        row[list(terms)] = list(terms.values())
    goal = np.zeros(len(low))
    goal[here[label]], goal[here[other]] = 1.0, -1.0
    constraint = LinearConstraint(matrix, [row[1] for row in rows], [row[2] for row in rows])
    found = milp(goal, constraints=constraint, bounds=Bounds(low, high), integrality=whole)
    assert found.success, found.message
    return float(found.fun)


def optima(model: nn.Module, images: Tensor, labels: Tensor, *, integer: bool) -> Tensor:
    """Return (N, K) the optima, infinite at the label."""
    values = [
        [torch.inf if k == label else optimum(model, image, label, k, integer=integer) for k in range(3)]
        for image, label in zip(images, labels.tolist(), strict=True)
    ]
    return torch.tensor(values, dtype=torch.float64)


@pytest.mark.parametrize("seed", range(2))
def test_no_bound_is_above_the_exact_optimum(seed: int) -> None:
    model, images, labels = network(seed)
    exact = optima(model, images, labels, integer=True)
    for certifier in BOUNDS:
        margins = certifier.margins(model, images, labels, THREAT)
        assert (margins <= exact + 1e-6).all(), certifier.name
    assert (AlphaCROWN().margins(model, images, labels, THREAT) > exact - 1).any(), "and not far below"


def test_linear_bounds_reach_the_linear_program() -> None:
    # With one hidden layer both relax the same rectifiers within the same bounds.
    model, images, labels = network(3, widths=(6, 12, 3))
    relaxed = optima(model, images, labels, integer=False)
    for certifier in (CROWNIBP(), CROWN(), AlphaCROWN(steps=100)):
        assert (certifier.margins(model, images, labels, THREAT) <= relaxed + 1e-6).all(), certifier.name
    best = AlphaCROWN(steps=100).margins(model, images, labels, THREAT)
    # What is proven is not optimised further.
    unproven = best <= 0
    assert (relaxed - best)[unproven].max() < 0.02
    assert (relaxed - CROWN().margins(model, images, labels, THREAT))[unproven].max() > 0.05


def test_branch_and_bound_decides_what_a_mixed_integer_program_decides() -> None:
    decided = further = 0
    search = BranchAndBound(cases=600, steps=40)
    for seed in range(2):
        model, images, labels = network(seed)
        least = optima(model, images, labels, integer=True).amin(dim=1)
        proven = search.certify(model, images, labels, THREAT)
        assert not proven[least <= 0].any()
        clear = least > 0.02
        assert proven[clear].all()
        decided += int(clear.sum())
        further += int((proven & ~AlphaCROWN().certify(model, images, labels, THREAT)).sum())
    assert decided
    assert further, "some images need cases"


def test_branch_and_bound_stops_at_its_limit() -> None:
    model, images, labels = network(0)
    few = BranchAndBound(cases=2).proofs(model, images, labels, THREAT)
    many = BranchAndBound(cases=60).proofs(model, images, labels, THREAT)
    assert (many.certified | ~few.certified).all()
    open_ones = ~AlphaCROWN().certify(model, images, labels, THREAT)
    assert open_ones.any()
    assert (few.forwards[open_ones] < many.forwards[open_ones]).any()
    assert (few.forwards <= many.forwards).all()


@pytest.mark.parametrize("certifier", BOUNDS, ids=IDS)
def test_no_corner_and_none_of_10000_points_is_below_the_bounds(
    certifier: IBP | CROWNIBP | CROWN | AlphaCROWN,
) -> None:
    model, images, labels = network(5)
    margins = certifier.margins(model, images, labels, THREAT)
    lower, upper = (images - THREAT.eps).clamp(min=0), (images + THREAT.eps).clamp(max=1)
    every = torch.tensor(list(product((0.0, 1.0), repeat=6))).view(-1, 1, 2, 3)
    shares = torch.cat([every, seeding.uniform(7, torch.arange(10_000), (1, 2, 3))])
    for row, label in enumerate(labels.tolist()):
        points = lower[row] + shares * (upper[row] - lower[row])
        with torch.no_grad():
            logits = model(points).double()
        apart = (logits[:, [label]] - logits).amin(dim=0)
        others = torch.arange(3) != label
        assert (apart[others] >= margins[row][others]).all()
