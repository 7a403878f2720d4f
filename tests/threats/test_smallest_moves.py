"""Moves onto a hyperplane: the smallest in their norm, among those that stay in the box."""

import numpy as np
import pytest
import torch
from scipy.optimize import linprog
from torch import Tensor

from robustlab.core import seeding
from robustlab.threats import L0, L1, L2, Linf, ThreatModel, Unbounded

SHAPE = (2, 3, 5)
N = 30
THREATS: dict[str, ThreatModel] = {
    "linf": Linf(eps=1.0),
    "l2": L2(eps=1.0),
    "l1": L1(eps=1.0),
    "l0": L0(eps=1),
    "unbounded": Unbounded(),
}
every_norm = pytest.mark.parametrize("norm", THREATS)


def onto_plane(norm: str, starts: Tensor, slope: Tensor, rise: Tensor) -> Tensor:
    return THREATS[norm].move_inside(starts, slope, rise)


def planes(spread: float, shape: tuple[int, int, int] = SHAPE) -> tuple[Tensor, Tensor]:
    """Points, many of their pixels at a wall, and slopes that span so many orders of magnitude."""
    ids = torch.arange(N)
    starts = (2 * seeding.uniform(1, ids, shape) - 0.5).clamp(0, 1)
    size = 10 ** (-spread * seeding.uniform(2, ids, shape))
    slope = size * (seeding.uniform(3, ids, shape) - 0.5).sign()
    return starts, torch.where(seeding.uniform(4, ids, shape) < 0.2, 0.0, slope)


def reach(starts: Tensor, slope: Tensor) -> tuple[Tensor, Tensor]:
    """Return by how much the slope can fall and rise inside the box."""
    up, down = slope * (1 - starts), -slope * starts
    return up.minimum(down).flatten(1).sum(dim=1), up.maximum(down).flatten(1).sum(dim=1)


def length(norm: str, moves: Tensor) -> Tensor:
    return THREATS[norm].distance(moves, torch.zeros_like(moves))


def rise_of(moves: Tensor, slope: Tensor) -> Tensor:
    return (moves.double() * slope).flatten(1).sum(dim=1)


@pytest.mark.parametrize("spread", [0.0, 1.0, 9.0])
@pytest.mark.parametrize("share", [-0.9, -0.01, 0.0, 0.3, 0.999])
@every_norm
def test_the_plane_is_reached_inside_the_box(norm: str, share: float, spread: float) -> None:
    starts, slope = planes(spread)
    lowest, highest = reach(starts, slope)
    rise = share * (highest if share > 0 else -lowest)
    moves = onto_plane(norm, starts, slope, rise)
    assert torch.allclose(rise_of(moves, slope).float(), rise, rtol=1e-4, atol=1e-7)
    assert (starts + moves).min() >= -1e-6
    assert (starts + moves).max() <= 1 + 1e-6
    assert not moves[slope == 0].any()
    if share == 0.0:
        assert not moves.any()


@every_norm
def test_what_is_out_of_reach_is_approached(norm: str) -> None:
    starts, slope = planes(2.0)
    lowest, highest = reach(starts, slope)
    assert torch.allclose(rise_of(onto_plane(norm, starts, slope, 2 * highest), slope).float(), highest)
    assert torch.allclose(rise_of(onto_plane(norm, starts, slope, 2 * lowest), slope).float(), lowest)
    # Where nothing has an influence, nothing moves.
    assert not onto_plane(norm, starts, torch.zeros_like(slope), highest).any()


@pytest.mark.parametrize("share", [0.05, 0.5, 0.95])
@pytest.mark.parametrize("norm", ["linf", "l1"])
def test_no_smaller_moves_reach_it(norm: str, share: float) -> None:
    starts, slope = planes(1.5)
    rise = share * reach(starts, slope)[1]
    found = length(norm, onto_plane(norm, starts, slope, rise))
    size = starts[0].numel()
    bound = np.ones((size, 1)) if norm == "linf" else np.eye(size)
    none = np.zeros(bound.shape[1])
    for i in range(N):
        point, w = (tensor[i].double().flatten().numpy() for tensor in (starts, slope))
        best = linprog(
            np.append(np.zeros(size), none + 1),
            A_ub=np.vstack([np.hstack([np.eye(size), -bound]), np.hstack([-np.eye(size), -bound])]),
            b_ub=np.zeros(2 * size),
            A_eq=np.append(w, none)[None],
            b_eq=[float(rise[i])],
            bounds=[*zip(-point, 1 - point, strict=True), *[(0, None)] * len(none)],
        )
        assert float(found[i]) == pytest.approx(best.fun, rel=1e-4)


@pytest.mark.parametrize("share", [0.05, 0.5, 0.95])
def test_in_l2_the_moves_are_the_slope_clipped(share: float) -> None:
    # Karush, Kuhn and Tucker's conditions: a multiple of the slope, but for pixels that meet their walls.
    starts, slope = planes(1.5)
    moves = onto_plane("l2", starts, slope, share * reach(starts, slope)[1])
    ratio = torch.where(slope == 0, 0.0, moves / slope).flatten(1)
    multiple = ratio.amax(dim=1)[:, None, None, None]
    assert torch.allclose(moves, (starts + multiple * slope).clamp(0, 1) - starts, atol=1e-5)


@pytest.mark.parametrize("share", [1e-3, 0.1, 0.9])
@every_norm
def test_rounding_does_not_add_moves(norm: str, share: float) -> None:
    # A classifier that masks its gradients has slopes of all magnitudes.
    starts, slope = planes(12.0, (1, 28, 28))
    rise = share * reach(starts, slope)[1]
    rough = length(norm, onto_plane(norm, starts, slope, rise))
    exact = length(norm, onto_plane(norm, starts.double(), slope.double(), rise.double()))
    assert torch.allclose(rough.double(), exact, rtol=1e-3)


@pytest.mark.parametrize("share", [0.05, 0.5, 0.95])
def test_in_l0_no_fewer_pixels_reach_it(share: float) -> None:
    starts, slope = planes(1.5)
    rise = share * reach(starts, slope)[1]
    moves = onto_plane("l0", starts, slope, rise)
    best = (
        (slope * torch.where(slope > 0, 1 - starts, -starts)).flatten(1).sort(dim=1, descending=True).values
    )
    fewest = (best.cumsum(dim=1) < (rise * (1 - 1e-5))[:, None]).sum(dim=1) + 1
    assert torch.equal(length("l0", moves), fewest.to(moves.dtype))


@pytest.mark.parametrize("norm", [name for name in THREATS if name != "l0"])
def test_without_walls_a_move_is_as_long_as_the_steepness_says(norm: str) -> None:
    # Hoelder's inequality, with equality for the smallest move.
    _, slope = planes(1.5)
    rise = 2 * seeding.uniform(5, torch.arange(N), ()) - 1
    moves = THREATS[norm].straight_move(slope, rise)
    assert torch.allclose(rise_of(moves, slope).float(), rise, rtol=1e-4, atol=1e-6)
    assert torch.allclose(length(norm, moves), rise.abs() / THREATS[norm].dual_norm(slope), rtol=1e-4)


@every_norm
def test_no_unit_move_rises_more_than_the_steepness(norm: str) -> None:
    threat, (_, slope) = THREATS[norm], planes(1.5)
    moves = seeding.normal(6, torch.arange(N), SHAPE)
    if norm == "l0":
        moves = (seeding.uniform(7, torch.arange(N), SHAPE) < 0.2) * moves.clamp(-1, 1)  # a pixel moves by 1
    assert (rise_of(moves, slope).float() <= threat.dual_norm(slope) * length(norm, moves) + 1e-5).all()
    steepest = threat.steepest(slope)
    rises = rise_of(steepest, slope).float()
    scale = steepest.abs().flatten(1).amax(dim=1) if norm == "l0" else length(norm, steepest)
    assert torch.allclose(rises, threat.dual_norm(slope) * scale, rtol=1e-4)


@every_norm
@pytest.mark.parametrize("share", [0.0, 0.25, 1.0])
def test_a_point_on_the_way_is_at_that_share_of_the_distance(norm: str, share: float) -> None:
    starts, slope = planes(0.0)
    images = (starts + slope).clamp(0, 1)
    threat, shares = THREATS[norm], torch.full((N,), share)
    found = threat.distance(threat.between(starts, images, shares), starts)
    wanted = share * threat.distance(images, starts)
    assert (found <= wanted + 1e-5).all() if not threat.discrete else (share == 0) <= bool((found == 0).all())
    if not threat.discrete:
        assert torch.allclose(found, wanted, atol=1e-5)


@every_norm
def test_all_images_can_become_grey_within_the_eps_that_says_so(norm: str) -> None:
    threat, grey = THREATS[norm], torch.full((N, *SHAPE), 0.5)
    corners = (seeding.uniform(8, torch.arange(N), SHAPE) < 0.5).float()
    farthest = threat.distance(grey, corners).max()
    assert float(farthest) == pytest.approx(threat.eps_to_grey(SHAPE))
    assert threat.eps_to_grey(SHAPE) <= threat.largest_distance(SHAPE)
