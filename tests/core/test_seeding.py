"""Random draws: they depend on (key, id) alone, and they are random enough."""

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from torch import Tensor

from robustlab.core import seeding

Draw = Callable[[int, Tensor, tuple[int, ...]], Tensor]

DRAWS: dict[str, Draw] = {"uniform": seeding.uniform, "normal": seeding.normal}
each_draw = pytest.mark.parametrize("draw", DRAWS.values(), ids=DRAWS)

KEYS = st.integers(0, 2**63 - 1)
IDS = st.lists(st.integers(0, 2**40), min_size=1, max_size=8)
SHAPES = st.lists(st.integers(1, 5), min_size=0, max_size=3).map(tuple)


@each_draw
@given(key=KEYS, ids=IDS, shape=SHAPES, data=st.data())
def test_a_draw_depends_on_key_and_id_alone(
    draw: Draw, key: int, ids: list[int], shape: tuple[int, ...], data: st.DataObject
) -> None:
    numbers = torch.tensor(ids)
    whole: Tensor = draw(key, numbers, shape)
    assert whole.shape == (len(ids), *shape)
    assert whole.dtype == torch.float32
    order = torch.tensor(data.draw(st.permutations(range(len(ids)))))
    assert torch.equal(draw(key, numbers[order], shape), whole[order])
    for row in range(len(ids)):
        assert torch.equal(draw(key, numbers[row : row + 1], shape)[0], whole[row])


@each_draw
def test_a_draw_does_not_depend_on_its_layout(draw: Draw) -> None:
    ids = torch.arange(5)
    flat: Tensor = draw(9, ids, (24,))
    assert torch.equal(draw(9, ids, (2, 3, 4)).flatten(1), flat)
    assert torch.equal(draw(9, ids.to(torch.int32), (24,)), flat)


def mix(z: int) -> int:
    """The SplitMix64 finaliser in whole numbers, as Steele, Lea & Flood print it."""
    z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9 % 2**64
    z = (z ^ z >> 27) * 0x94D049BB133111EB % 2**64
    return z ^ z >> 31


@given(key=KEYS, ids=IDS)
def test_the_bits_are_those_of_splitmix64(key: int, ids: list[int]) -> None:
    golden = 0x9E3779B97F4A7C15
    streams = [mix((number * golden + key) % 2**64) for number in ids]
    bits = torch.tensor([[mix((s + j * golden) % 2**64) >> 40 for j in range(1, 11)] for s in streams])
    assert torch.equal((seeding.uniform(key, torch.tensor(ids), (10,)) * 2**24).to(torch.int64), bits)
    radius = torch.sqrt(-2 * torch.log((bits[:, :5] + 1).double() / 2**24))
    box_muller = radius * torch.cos(2 * math.pi * bits[:, 5:].double() / 2**24)
    assert torch.allclose(seeding.normal(key, torch.tensor(ids), (5,)).double(), box_muller, atol=1e-5)


def sample(draw: Draw, key: int, first_id: int = 0) -> np.ndarray:
    ids = torch.arange(first_id, first_id + 256)
    result: np.ndarray = draw(key, ids, (784,)).numpy()
    return result.astype(np.float64)


# Of 200,704 independent numbers, correlations beyond 5 / sqrt(n) come up less than once in a million times.
BOUND = 5 / math.sqrt(256 * 784)


def correlation(a: np.ndarray, b: np.ndarray) -> float:
    return float(np.corrcoef(a.ravel(), b.ravel())[0, 1])


@each_draw
@pytest.mark.parametrize(
    ("one", "other"),
    [
        (seeding.derive(0, "start", 0), seeding.derive(0, "start", 1)),
        (seeding.derive(0, "start"), seeding.derive(0, "noise")),
        (seeding.derive(0, "start"), seeding.derive(1, "start")),
        (0, 1),
        (2**62, 2**62 + 1),
        (1, 1 + (0x9E3779B97F4A7C15 >> 1)),
    ],
)
def test_other_keys_give_other_numbers(draw: Draw, one: int, other: int) -> None:
    assert abs(correlation(sample(draw, one), sample(draw, other))) < BOUND


@each_draw
@pytest.mark.parametrize("offset", [1, 2, 255, 1000, 60_000, 2**32])
def test_other_images_get_other_numbers(draw: Draw, offset: int) -> None:
    assert abs(correlation(sample(draw, 3), sample(draw, 3, offset))) < BOUND


@each_draw
@pytest.mark.parametrize("lag", [1, 2, 28, 392])
def test_the_pixels_of_an_image_get_numbers_of_their_own(draw: Draw, lag: int) -> None:
    numbers = sample(draw, 5)
    assert abs(correlation(numbers[:, :-lag], numbers[:, lag:])) < 1.5 * BOUND


@pytest.mark.parametrize("key", [0, 1, 2**63 - 1, seeding.derive(0, "start", 0), seeding.derive(7, "noise")])
def test_the_distributions_are_right(key: int) -> None:
    uniform, normal = sample(seeding.uniform, key).ravel(), sample(seeding.normal, key).ravel()
    assert stats.kstest(uniform, "uniform").pvalue > 1e-4
    assert stats.kstest(normal, "norm").pvalue > 1e-4
    n = len(uniform)
    assert abs(uniform.mean() - 1 / 2) < 5 * math.sqrt(1 / 12 / n)
    assert abs(uniform.var() - 1 / 12) < 5 * math.sqrt(1 / 180 / n)
    assert abs(normal.mean()) < 5 * math.sqrt(1 / n)
    assert abs(normal.var() - 1) < 5 * math.sqrt(2 / n)
    assert abs((normal**4).mean() - 3) < 5 * math.sqrt(96 / n)


def test_the_first_pixel_is_as_random_as_the_rest() -> None:
    # One number per image is how the training images to be perturbed are chosen.
    firsts = seeding.uniform(seeding.derive(0, "first"), torch.arange(60_000), (1,)).squeeze(1).numpy()
    assert stats.kstest(firsts, "uniform").pvalue > 1e-4
    assert abs(correlation(firsts[:-1], firsts[1:])) < 5 / math.sqrt(60_000)


def test_the_ranges_are_kept() -> None:
    uniform, normal = sample(seeding.uniform, 1), sample(seeding.normal, 1)
    assert uniform.min() >= 0
    assert uniform.max() < 1
    # The least number under the logarithm is 2^-24.
    assert np.abs(normal).max() <= math.sqrt(2 * 24 * math.log(2)) + 1e-6


def test_all_24_bits_are_random() -> None:
    whole = (sample(seeding.uniform, 17).ravel() * 2**24).astype(np.int64)
    ones = np.array([((whole >> bit) & 1).mean() for bit in range(24)])
    assert np.abs(ones - 0.5).max() < 5 * 0.5 / math.sqrt(len(whole))


def test_nothing_is_drawn_twice() -> None:
    # Two neighbours have 48 bits: among 400,000 of such pairs one coincidence is a 3-in-10,000 event.
    pairs = []
    for key in (seeding.derive(0, "start", 0), seeding.derive(0, "start", 1)):
        whole = (sample(seeding.uniform, key) * 2**24).astype(np.int64)
        pairs.append((whole[:, :-1] << 24 | whole[:, 1:]).ravel())
    both = np.concatenate(pairs)
    assert len(np.unique(both)) == len(both)


FROZEN_KEYS = {"plain": 2033344993903900207, "start": 6525918928011879025, "mixed": 8109616389305594815}
FROZEN_UNIFORM = [
    [13166451, 14341685, 11186403, 8738149],
    [3610106, 6118929, 8488411, 4948628],
    [5651599, 13210000, 5833443, 10139362],
]
FROZEN_NORMAL = [
    [0.675057, -0.513764, -0.136256, -0.681847],
    [1.587054, 1.30399, 0.62691, 1.468822],
    [-1.46693, -0.628893, -1.290666, -0.056921],
]


def test_the_numbers_stay_the_same_for_ever() -> None:
    # Every figure of every run follows from these: a change of the generator must be noticed.
    assert seeding.derive(0) == FROZEN_KEYS["plain"]
    assert seeding.derive(0, "start", 3) == FROZEN_KEYS["start"]
    assert seeding.derive(-1, "dropout", "baseline", 0.5) == FROZEN_KEYS["mixed"]
    ids = torch.tensor([0, 1, 59_999])
    uniform = (seeding.uniform(FROZEN_KEYS["start"], ids, (4,)) * 2**24).to(torch.int64)
    assert uniform.tolist() == FROZEN_UNIFORM
    normal = seeding.normal(FROZEN_KEYS["start"], ids, (4,))
    assert torch.allclose(normal, torch.tensor(FROZEN_NORMAL), atol=1e-5)


# Keys


PURPOSES = st.tuples(st.integers(), st.text(), st.integers())


@given(a=PURPOSES, b=PURPOSES)
def test_other_purposes_have_other_keys(a: tuple[int, str, int], b: tuple[int, str, int]) -> None:
    assert (seeding.derive(*a) == seeding.derive(*b)) == (a == b)
    assert 0 <= seeding.derive(*a) < 2**63
    assert seeding.derive(*a) != seeding.derive(*a, "more")


def test_the_parts_of_a_purpose_are_kept_apart() -> None:
    assert seeding.derive(0, "ab", "c") != seeding.derive(0, "a", "bc")
    assert seeding.derive(1, "2") != seeding.derive(12)


# The global generators


def test_draws_leave_the_global_generator_alone() -> None:
    before = torch.get_rng_state()
    seeding.normal(1, torch.arange(3), (4,))
    seeding.uniform(1, torch.arange(3), (4,))
    assert torch.equal(torch.get_rng_state(), before)


def test_isolated_seeds_inside_and_restores_outside() -> None:
    before = torch.get_rng_state()
    with seeding.isolated(5):
        first = torch.randn(4)
        with seeding.isolated(5):
            assert torch.equal(torch.randn(4), first)
        second = torch.randn(4)
    assert torch.equal(torch.get_rng_state(), before)
    with seeding.isolated(5):
        assert torch.equal(torch.randn(8), torch.cat([first, second]))
    with seeding.isolated(6):
        assert not torch.equal(torch.randn(4), first)


def test_isolated_restores_after_an_error() -> None:
    before = torch.get_rng_state()

    def fail() -> None:
        with seeding.isolated(5):
            torch.randn(3)
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert torch.equal(torch.get_rng_state(), before)


def test_isolated_takes_every_key() -> None:
    for key in (0, 2**63 - 1):
        with seeding.isolated(key):
            torch.randn(1)
