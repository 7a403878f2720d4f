"""The geometry of the threat models: closed forms, and laws over eps, norms and images."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from torch import Tensor

from robustlab.core import seeding
from robustlab.core.tolerance import with_tolerance
from robustlab.threats import L0, L1, L2, Linf, ThreatModel, Unbounded

SHAPE = (2, 3, 4)
THREATS: list[ThreatModel] = [
    *(Linf(eps=eps) for eps in (0.0, 1e-3, 8 / 255, 0.3, 1.0)),
    *(L2(eps=eps) for eps in (0.0, 1e-3, 0.5, 2.0, 100.0)),
]
every_threat = pytest.mark.parametrize("threat", THREATS, ids=map(repr, THREATS))
SEEDS = st.integers(0, 2**32)


def clean_images(seed: int, n: int = 6) -> Tensor:
    """Images with many pixels at the ends of the range, as digits have."""
    images = seeding.uniform(seeding.derive(seed, "clean"), torch.arange(n), SHAPE)
    return (2 * images - 0.5).clamp(0, 1)


def far_points(seed: int, clean: Tensor, scale: float) -> Tensor:
    """Points around the clean images, out of the box as well."""
    return clean + scale * seeding.normal(seeding.derive(seed, "far"), torch.arange(len(clean)), SHAPE)


def tolerance(threat: ThreatModel) -> float:
    # A few roundings of float32 numbers of the size of one pixel, in every pixel.
    return 1e-6 * threat.eps + 1e-6


def assert_allowed(threat: ThreatModel, images: Tensor, clean: Tensor) -> None:
    assert images.min() >= 0
    assert images.max() <= 1
    assert threat.distance(images, clean).max() <= threat.eps + tolerance(threat)


@every_threat
@given(seed=SEEDS, scale=st.sampled_from([0.0, 1e-4, 0.1, 1.0, 100.0]))
def test_projection(threat: ThreatModel, seed: int, scale: float) -> None:
    clean = clean_images(seed)
    points = far_points(seed, clean, scale)
    kept = points.clone()
    projected = threat.project(points, clean)
    assert torch.equal(points, kept)  # the input is left alone
    assert_allowed(threat, projected, clean)
    assert torch.allclose(threat.project(projected, clean), projected, atol=1e-6)
    # No pixel is moved away from, or past, the clean image.
    moved, wished = projected - clean, points - clean
    assert (moved * wished >= 0).all()
    assert (moved.abs() <= wished.abs() + 1e-6).all()


@every_threat
@given(seed=SEEDS)
def test_allowed_points_stay_where_they_are(threat: ThreatModel, seed: int) -> None:
    clean = clean_images(seed)
    allowed = threat.project(far_points(seed, clean, 1.0), clean)
    nearer = clean + 0.9 * (allowed - clean)
    assert torch.allclose(threat.project(nearer, clean), nearer, atol=1e-6)
    assert torch.equal(threat.project(clean, clean), clean)


@given(seed=SEEDS, eps=st.floats(0, 1))
def test_linf_projection_is_clipping(seed: int, eps: float) -> None:
    clean = clean_images(seed)
    points = far_points(seed, clean, 0.5)
    low = np.maximum(clean.double().numpy() - eps, 0)
    high = np.minimum(clean.double().numpy() + eps, 1)
    expected = np.clip(points.double().numpy(), low, high)
    assert np.allclose(Linf(eps=eps).project(points, clean).numpy(), expected, atol=1e-7)


@given(seed=SEEDS)
def test_l2_projection_shrinks_along_the_line(seed: int) -> None:
    # Far from the box's walls the nearest allowed point is on the line to the clean image.
    clean = 0.4 + 0.2 * clean_images(seed)
    points = far_points(seed, clean, 1.0)
    threat = L2(eps=0.3)
    moved = (points - clean).double()
    length = moved.flatten(1).norm(dim=1)[:, None, None, None]
    expected = clean + moved * torch.minimum(0.3 / length, torch.ones(1))
    assert torch.allclose(threat.project(points, clean).double(), expected, atol=1e-6)


@given(seed=SEEDS)
def test_distances(seed: int) -> None:
    clean = clean_images(seed)
    points = far_points(seed, clean, 1.0)
    moved = (points.double() - clean.double()).flatten(1).numpy()
    assert np.allclose(Linf(eps=0.1).distance(points, clean), np.abs(moved).max(axis=1), rtol=1e-5)
    assert np.allclose(L2(eps=0.1).distance(points, clean), np.sqrt((moved**2).sum(axis=1)), rtol=1e-5)
    for threat in (Linf(eps=0.1), L2(eps=0.1)):
        assert torch.equal(threat.distance(points, clean), threat.distance(clean, points))
        assert not threat.distance(clean, clean).any()


@every_threat
@given(seed=SEEDS, fraction=st.sampled_from([1 / 30, 0.5, 1.0, 2.0]))
def test_ascent_is_the_steepest(threat: ThreatModel, seed: int, fraction: float) -> None:
    # The loss <g, x> rises by fraction * eps * (dual norm of g), and no step of that length does better.
    clean = clean_images(seed)
    gradient = far_points(seed, torch.zeros_like(clean), 1.0)
    step = (threat.ascend(clean, gradient, fraction) - clean).double()
    gain = (step * gradient).flatten(1).sum(dim=1)
    flat = gradient.double().flatten(1)
    dual = flat.abs().sum(dim=1) if isinstance(threat, Linf) else flat.norm(dim=1)
    assert torch.allclose(gain, fraction * threat.eps * dual, rtol=1e-4, atol=1e-5)
    assert torch.allclose(
        threat.distance(clean + step, clean.double()).float(), torch.tensor(fraction * threat.eps), atol=1e-5
    )
    for other in range(20):
        direction = seeding.normal(seeding.derive(seed, other), torch.arange(len(clean)), SHAPE).double()
        length = threat.distance(direction, torch.zeros_like(direction))[:, None, None, None]
        rival = fraction * threat.eps * direction / length
        assert ((rival * gradient).flatten(1).sum(dim=1) <= gain + 1e-5).all()


@every_threat
@pytest.mark.parametrize("scale", [1e-30, 1e-20, 1e-10, 1e10, 1e20, 1e30])
def test_ascent_does_not_depend_on_the_gradients_size(threat: ThreatModel, scale: float) -> None:
    # A confident classifier's gradient is tiny, and its squares underflow.
    clean = clean_images(1)
    gradient = far_points(1, torch.zeros_like(clean), 1.0)
    expected = threat.ascend(clean, gradient, 1.0)
    found = threat.ascend(clean, gradient * scale, 1.0)
    assert torch.allclose(found, expected, rtol=1e-5, atol=1e-6)


@every_threat
def test_ascent_without_a_gradient_stays(threat: ThreatModel) -> None:
    clean = clean_images(1)
    assert torch.equal(threat.ascend(clean, torch.zeros_like(clean), 1.0), clean)


@every_threat
@given(seed=SEEDS)
def test_random_starts(threat: ThreatModel, seed: int) -> None:
    clean, ids = clean_images(seed), 13 * torch.arange(6)
    start = threat.random_start(clean, seed, ids)
    assert_allowed(threat, start, clean)
    assert start.dtype == torch.float32
    order = torch.tensor([3, 0, 5])
    assert torch.allclose(threat.random_start(clean[order], seed, ids[order]), start[order], atol=1e-7)
    if threat.eps == 0:
        assert torch.equal(start, clean)
    else:
        assert not torch.equal(start, clean)
        assert not torch.equal(threat.random_start(clean, seed + 1, ids), start)


def test_linf_starts_fill_the_ball_evenly() -> None:
    clean = torch.full((2000, *SHAPE), 0.5)
    start = Linf(eps=0.2).random_start(clean, 4, torch.arange(2000))
    assert stats.kstest(((start - 0.3) / 0.4).flatten().double().numpy(), "uniform").pvalue > 1e-4


def test_l2_starts_fill_the_ball_evenly() -> None:
    clean, threat = torch.full((5000, *SHAPE), 0.5), L2(eps=0.4)
    start = threat.random_start(clean, 4, torch.arange(5000))
    radius = threat.distance(start, clean).double() / 0.4
    assert stats.kstest((radius ** math.prod(SHAPE)).numpy(), "uniform").pvalue > 1e-4
    direction = (start - clean).flatten(1) / threat.distance(start, clean)[:, None]
    # Each coordinate of a uniform direction has variance 1 / d.
    assert torch.allclose(direction.var(dim=0), torch.tensor(1 / math.prod(SHAPE)), rtol=0.1)
    assert direction.mean(dim=0).abs().max() < 5 / math.sqrt(5000 * math.prod(SHAPE))


@every_threat
def test_without_eps_nothing_may_change(threat: ThreatModel) -> None:
    nothing = type(threat)(eps=0.0)  # type: ignore[call-arg]
    clean = clean_images(2)
    assert torch.equal(nothing.project(far_points(2, clean, 1.0), clean), clean)
    assert torch.equal(nothing.ascend(clean, far_points(2, clean, 1.0), 1.0), clean)


def test_the_whole_box_allows_any_image() -> None:
    clean = clean_images(3)
    points = far_points(3, clean, 1.0)
    assert torch.allclose(Linf(eps=1.0).project(points, clean), points.clamp(0, 1), atol=1e-7)


def test_the_l1_ball_of_a_large_image_is_not_left_by_rounding() -> None:
    clean = seeding.uniform(1, torch.arange(3), (3, 224, 224))
    moves = 0.02 * seeding.normal(2, torch.arange(3), (3, 224, 224))
    threat = L1(eps=12.0)
    for points in (clean + moves, clean + 0.1 * moves, clean + moves.sign() * 1e-4):
        assert (threat.distance(threat.project(points, clean), clean) <= with_tolerance(threat.eps)).all()


def test_the_largest_distance_is_that_of_black_and_white() -> None:
    black, white = torch.zeros(1, *SHAPE), torch.ones(1, *SHAPE)
    threats = (Linf(eps=0.1), L2(eps=0.1), L1(eps=0.1), L0(eps=1), Unbounded())
    assert [threat.largest_distance(SHAPE) for threat in threats] == [1, math.sqrt(24), 24, 24, 1]
    for threat in threats:
        assert threat.distance(black, white).item() == pytest.approx(threat.largest_distance(SHAPE))


@pytest.mark.parametrize(
    ("threat", "channels", "said"),
    [
        (Linf(eps=0.3), 1, "change every pixel by up to 0.3, where black is 0 and white is 1"),
        (Linf(eps=8 / 255), 3, "change every colour value by up to 8/255, where black is 0 and white is 1"),
        (L2(eps=0.5), 3, "move the image by up to 0.5 in Euclidean length, where black is 0 and white is 1"),
        (L1(eps=12.0), 1, "change pixels by up to 12 in total, where black is 0 and white is 1"),
        (L0(eps=3), 3, "set up to 3 colour values to anything"),
        (Unbounded(), 3, "change the image in every way that the attacks below try, and in no other"),
    ],
)
def test_what_the_attacker_may_do_in_words(threat: ThreatModel, channels: int, said: str) -> None:
    assert threat.words(channels) == said


def test_within_l0_a_fraction_of_a_value_does_not_count() -> None:
    clean, ids, eps = torch.full((3, 1, 2, 3), 0.5), torch.arange(3), torch.tensor([0.5, 1.9, 2.0])
    for images in (
        L0(eps=3).project(torch.ones_like(clean), clean, eps),
        L0(eps=3).random_start(clean, 1, ids, eps),
    ):
        assert L0(eps=3).distance(images, clean).tolist() == [0, 1, 2]
