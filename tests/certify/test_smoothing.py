"""Radii by randomized smoothing, against the closed form of a linear classifier."""

import math
from collections.abc import Callable
from statistics import NormalDist
from typing import Any

import pytest
import torch
from scipy.stats import binom
from torch import Tensor, nn

from robustlab.certify import smoothed_radii
from robustlab.certify.smoothing import ABSTAINED, lower_bound
from robustlab.core.errors import RobustlabError

SIGMA = 0.5


class HalfSpace(nn.Module):
    """Class 1 where the sum of all pixels is above a border: the smoothed class is the same."""

    def __init__(self, border: float = 8.0) -> None:
        super().__init__()
        self.border = border
        self.asked: list[int] = []
        self.eval()

    def forward(self, images: Tensor) -> Tensor:
        self.asked.append(len(images))
        above = images.flatten(1).sum(dim=1) - self.border
        return torch.stack([-above, above], dim=1)


def grey(*levels: float) -> Tensor:
    return torch.tensor(levels).view(-1, 1, 1, 1).expand(-1, 1, 4, 4).contiguous()


LEVELS = (0.1, 0.3, 0.48, 0.6, 0.8)
TRUE = torch.tensor([abs(16 * level - 8) / math.sqrt(16) for level in LEVELS], dtype=torch.float64)
"""The distances of grey images from the border; the exact radii of the smoothed classifier."""


def test_a_radius_is_below_the_distance_and_near_it_with_many_draws() -> None:
    found = smoothed_radii(HalfSpace(), grey(*LEVELS), sigma=SIGMA, n=40_000)
    assert found.classes.tolist() == [0, 0, 0, 1, 1]
    assert (found.radii < TRUE).all()
    # The largest radius that n draws can prove is sigma times the quantile of alpha^(1/n).
    most = SIGMA * NormalDist().inv_cdf(found.alpha ** (1 / found.n))
    assert ((found.radii > 0.95 * TRUE - 0.01) | (most < TRUE)).all()
    assert found.radii.max() <= most + 1e-12
    fewer = smoothed_radii(HalfSpace(), grey(*LEVELS), sigma=SIGMA, n=500)
    assert (fewer.radii < found.radii).all()


def test_abstaining_counts_as_wrong_at_every_radius() -> None:
    found = smoothed_radii(HalfSpace(), grey(0.5, 0.6), sigma=SIGMA, n=1000)
    assert (int(found.classes[0]), float(found.radii[0])) == (ABSTAINED, 0.0)
    for label in (0, 1):
        assert found.certified([label, 1], 0.0).tolist() == [False, True]


def test_certified_are_images_of_the_right_class_within_their_radius() -> None:
    found = smoothed_radii(HalfSpace(), grey(0.3, 0.8), sigma=SIGMA, n=1000)
    assert found.certified([0, 0], 0.1).tolist() == [True, False]
    assert found.certified([0, 1], float(found.radii[0])).tolist() == [False, True]
    assert found.certified([0, 1], 10.0).tolist() == [False, False]


def test_the_bound_is_the_exact_binomial_one() -> None:
    for successes, draws in ((1, 10), (60, 100), (999, 1000), (100, 100)):
        bound = lower_bound(successes, draws, 0.01)
        # At this probability so many successes, or more, have a chance of alpha.
        assert binom.sf(successes - 1, draws, bound) == pytest.approx(0.01)
    assert lower_bound(0, 10, 0.01) == 0.0


def test_the_bound_fails_as_seldom_as_it_says() -> None:
    # 300 images at the same distance: with alpha 0.2 about 60 radii are too large.
    found = smoothed_radii(HalfSpace(), grey(*[0.6] * 300), sigma=SIGMA, n0=20, n=50, alpha=0.2)
    wrong = int((found.radii > 0.4).sum())
    assert binom.cdf(wrong, 300, 0.2) < 0.999
    assert wrong > 0


def test_draws_depend_on_seed_and_id_and_on_nothing_else() -> None:
    images, ids = grey(0.55, 0.45, 0.55), torch.tensor([7, 3, 9])
    options: dict[str, Any] = {"sigma": SIGMA, "n": 300, "ids": ids}
    first = smoothed_radii(HalfSpace(), images, **options)
    torch.manual_seed(5)
    assert torch.equal(smoothed_radii(HalfSpace(), images, **options, batch_size=7).radii, first.radii)
    order = torch.tensor([2, 0, 1])
    moved = smoothed_radii(HalfSpace(), images[order], **options | {"ids": ids[order]})
    assert torch.equal(moved.radii, first.radii[order])
    assert first.radii[0] != first.radii[2]
    assert not torch.equal(smoothed_radii(HalfSpace(), images, **options, seed=1).radii, first.radii)


def test_it_draws_as_often_as_it_says() -> None:
    model = HalfSpace()
    done: list[int] = []
    found = smoothed_radii(model, grey(0.1, 0.9), n0=10, n=25, batch_size=10, on_image=done.append)
    assert model.asked == 2 * [10, 10, 10, 5]
    assert (found.n0, found.n, found.alpha, found.sigma, done) == (10, 25, 0.001, 0.25, [1, 1])


def test_an_answer_that_is_none_is_for_no_class() -> None:
    class Broken(nn.Module):
        def forward(self, images: Tensor) -> Tensor:
            return torch.full((len(images), 3), torch.nan)

    found = smoothed_radii(Broken().eval(), grey(0.1), n=50)
    assert found.classes.tolist() == [ABSTAINED]


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"sigma": 0.0}, "sigma"),
        ({"sigma": "a"}, "sigma"),
        ({"alpha": 1.0}, "alpha"),
        ({"alpha": True}, "alpha"),
        ({"n": 0}, "n must"),
        ({"n0": 2.5}, "n0"),
        ({"batch_size": 0}, "batch_size"),
        ({"ids": [1, 2, 3]}, "ids"),
        ({"images": torch.full((1, 1, 4, 4), 2.0)}, r"\[0, 1\]"),
        ({"classifier": nn.Dropout()}, "eval"),
        ({"classifier": nn.Identity().eval()}, r"logits \(N, K\)"),
    ],
)
def test_a_wrong_argument_is_one_line(options: dict[str, Any], named: str) -> None:
    given: dict[str, Any] = {"classifier": HalfSpace(), "images": grey(0.1), "n": 10} | options
    with pytest.raises(RobustlabError, match=named) as caught:
        smoothed_radii(**given)
    assert "\n" not in str(caught.value)


def test_the_smoothed_linear_classifier_has_the_radius_of_its_margin(
    make_linear: Callable[..., nn.Module],
) -> None:
    model, images = make_linear(classes=2), grey(0.2, 0.7)
    weight = model[1].weight[0] - model[1].weight[1]  # type: ignore[index]
    distance = (model(images)[:, 0] - model(images)[:, 1]).abs() / weight.norm()
    found = smoothed_radii(model, images, sigma=0.3, n=5000)
    assert torch.equal(found.classes, model(images).argmax(dim=1))
    assert (found.radii < distance.double()).all()
