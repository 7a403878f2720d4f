"""Figures and their intervals, against scipy, scikit-learn and simulation."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.stats import binomtest, norm
from sklearn.metrics import roc_auc_score

from robustlab.evaluation.metrics import Z, proportion
from robustlab.evaluation.scores import auroc, threshold_at

Scores = NDArray[np.float64]


# Proportions


@given(data=st.data(), n=st.integers(1, 20_000))
def test_the_interval_is_wilsons(data: st.DataObject, n: int) -> None:
    successes = data.draw(st.integers(0, n) | st.sampled_from([0, 1, n - 1, n]))
    figure = proportion(successes, n)
    expected = binomtest(successes, n).proportion_ci(method="wilson")
    assert figure.value == successes / n
    assert figure.n == n
    assert figure.low == pytest.approx(expected.low, abs=1e-9)
    assert figure.high == pytest.approx(expected.high, abs=1e-9)
    assert 0 <= figure.low <= figure.value <= figure.high <= 1


@given(data=st.data(), n=st.integers(1, 1000))
def test_failures_mirror_successes(data: st.DataObject, n: int) -> None:
    successes = data.draw(st.integers(0, n))
    one, other = proportion(successes, n), proportion(n - successes, n)
    assert one.low == pytest.approx(1 - other.high, abs=1e-12)
    assert one.high == pytest.approx(1 - other.low, abs=1e-12)


@pytest.mark.parametrize("n", [1, 10, 10_000])
def test_the_interval_ends_at_0_and_1_exactly(n: int) -> None:
    assert proportion(0, n).low == proportion(0, n).value == 0.0
    assert proportion(n, n).high == proportion(n, n).value == 1.0
    z2 = 1.959963984540054**2
    assert proportion(0, n).high == pytest.approx(z2 / (n + z2))
    assert proportion(n, n).low == pytest.approx(n / (n + z2))


def test_the_quantile_is_scipys() -> None:
    assert float(norm.ppf(0.975)) == Z


def test_more_images_narrow_the_interval() -> None:
    widths = [proportion(n // 2, n).high - proportion(n // 2, n).low for n in (10, 100, 1000, 10_000)]
    assert widths == sorted(widths, reverse=True)
    assert widths[-1] == pytest.approx(2 * 1.96 * 0.5 / math.sqrt(10_000), rel=1e-3)


def test_the_interval_covers() -> None:
    rng = np.random.default_rng(0)
    for share in (0.02, 0.5, 0.97):
        figures = [proportion(int(k), 200) for k in rng.binomial(200, share, 4000)]
        covered = np.mean([f.low <= share <= f.high for f in figures])
        assert 0.93 < covered < 0.98


@pytest.mark.parametrize(("successes", "n"), [(0, 0), (-1, 5), (6, 5)])
def test_impossible_counts_are_refused(successes: int, n: int) -> None:
    with pytest.raises(ValueError, match=rf"must lie in 0\.\.n with n > 0, found {successes} of {n}"):
        proportion(successes, n)


def test_figures_are_spelt_in_percent() -> None:
    assert str(proportion(95, 100)) == "95.00 % (88.82 – 97.85)"


# The area under the ROC curve

TIED = st.lists(st.integers(0, 5), min_size=1, max_size=40).map(lambda xs: np.array(xs, dtype=np.float64))
FREE = st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=40).map(np.array)


@given(positives=TIED | FREE, negatives=TIED | FREE)
def test_the_area_is_scikit_learns_and_the_share_of_pairs(positives: Scores, negatives: Scores) -> None:
    figure = auroc(positives, negatives)
    truth = np.r_[np.ones(len(positives)), np.zeros(len(negatives))]
    assert figure.value == pytest.approx(roc_auc_score(truth, np.r_[positives, negatives]), abs=1e-12)
    pairs = np.sign(positives[:, None] - negatives[None, :])
    assert figure.value == pytest.approx((pairs.mean() + 1) / 2, abs=1e-12)
    assert figure.n == len(truth)
    assert 0 <= figure.low <= figure.value + 1e-12
    assert figure.value - 1e-12 <= figure.high <= 1


@given(positives=TIED, negatives=TIED)
def test_the_interval_is_delongs(positives: Scores, negatives: Scores) -> None:
    if min(len(positives), len(negatives)) < 2:
        return
    # As DeLong, DeLong & Clarke-Pearson write it: structural components over all pairs.
    psi = (np.sign(positives[:, None] - negatives[None, :]) + 1) / 2
    v10, v01 = psi.mean(axis=1), psi.mean(axis=0)
    variance = v10.var(ddof=1) / len(positives) + v01.var(ddof=1) / len(negatives)
    half = norm.ppf(0.975) * math.sqrt(variance)
    figure = auroc(positives, negatives)
    assert figure.low == pytest.approx(max(0.0, psi.mean() - half), abs=1e-9)
    assert figure.high == pytest.approx(min(1.0, psi.mean() + half), abs=1e-9)


@given(positives=FREE, negatives=FREE)
def test_swapping_the_classes_mirrors_the_area(positives: Scores, negatives: Scores) -> None:
    one, other = auroc(positives, negatives), auroc(negatives, positives)
    assert one.value == pytest.approx(1 - other.value, abs=1e-12)
    assert one.low == pytest.approx(1 - other.high, abs=1e-9)
    # Only the order of the scores counts.
    assert auroc(2 * positives, 2 * negatives).value == pytest.approx(one.value, abs=1e-12)


def test_known_areas() -> None:
    high, low = np.array([3.0, 4.0, 5.0]), np.array([0.0, 1.0, 2.0])
    assert auroc(high, low).value == 1.0
    assert auroc(low, high).value == 0.0
    assert auroc(low, low).value == 0.5
    assert auroc(np.array([1.0]), np.array([0.0])).low == 0.0  # of one image nothing is known


def test_the_intervals_coverage() -> None:
    rng = np.random.default_rng(1)
    true = float(norm.cdf(1 / math.sqrt(2)))  # normal scores one deviation apart
    figures = [auroc(rng.normal(1, 1, 120), rng.normal(0, 1, 80)) for _ in range(1500)]
    covered = np.mean([figure.low <= true <= figure.high for figure in figures])
    assert 0.92 < covered < 0.98
    assert np.mean([figure.value for figure in figures]) == pytest.approx(true, abs=0.005)


# Thresholds


@given(scores=TIED | FREE, rate=st.floats(0, 0.999))
def test_a_threshold_keeps_its_rate_and_is_the_least_that_does(scores: Scores, rate: float) -> None:
    threshold = threshold_at(rate, scores)
    assert (scores > threshold).mean() <= rate
    # Any lower threshold lets through every score from this one on.
    assert threshold in scores
    assert (scores >= threshold).mean() > rate


def test_a_threshold_on_many_scores_meets_its_rate() -> None:
    scores = np.random.default_rng(0).normal(size=12_000)
    assert (scores > threshold_at(0.05, scores)).mean() == pytest.approx(0.05, abs=1e-4)
    assert threshold_at(0.05, scores) == pytest.approx(norm.ppf(0.95), abs=0.05)
    assert threshold_at(0.0, scores) == scores.max()
