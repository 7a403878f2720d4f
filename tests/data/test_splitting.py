"""The split into train and validation."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from robustlab.core.errors import DataError
from robustlab.data.splitting import train_and_validation


@given(count=st.integers(10, 3000), fraction=st.floats(0.1, 0.9), seed=st.integers(0, 2**31))
def test_every_row_is_in_exactly_one_part(count: int, fraction: float, seed: int) -> None:
    train, validation = train_and_validation(count, fraction, seed)
    assert sorted([*train.tolist(), *validation.tolist()]) == list(range(count))
    assert len(validation) == round(count * fraction)
    for part in (train, validation):
        assert part.dtype == torch.int64
        assert part.tolist() == sorted(part.tolist())


@given(seed=st.integers(0, 2**31))
def test_the_seed_decides_and_nothing_else(seed: int) -> None:
    before = torch.get_rng_state()
    first = train_and_validation(100, 0.2, seed)
    assert torch.equal(torch.get_rng_state(), before)
    torch.rand(3)
    assert all(torch.equal(a, b) for a, b in zip(first, train_and_validation(100, 0.2, seed), strict=True))
    assert not torch.equal(first[1], train_and_validation(100, 0.2, seed + 1)[1])


def test_validation_images_come_from_everywhere() -> None:
    _, validation = train_and_validation(60_000, 0.2, 0)
    per_tenth = torch.bincount(validation // 6000, minlength=10)
    assert (per_tenth - 1200).abs().max() < 150


FROZEN_SPLIT_OF_10 = [2, 6, 8]
FROZEN_SPLIT_OF_60000 = [0, 22, 27, 30, 31, 33]


def test_the_split_stays_the_same() -> None:
    assert train_and_validation(10, 0.3, 0)[1].tolist() == FROZEN_SPLIT_OF_10
    assert train_and_validation(60_000, 0.2, 0)[1][:6].tolist() == FROZEN_SPLIT_OF_60000


@pytest.mark.parametrize(("count", "fraction"), [(100, 0.0), (100, 1.0), (100, 0.004), (1, 0.5), (100, -0.1)])
def test_neither_part_may_be_empty(count: int, fraction: float) -> None:
    with pytest.raises(
        DataError, match=f"validation_fraction must leave images .* found {fraction} of {count}"
    ):
        train_and_validation(count, fraction, 0)
