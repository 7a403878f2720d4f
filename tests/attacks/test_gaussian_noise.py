"""Gaussian noise: its distribution, and where it ends up after clipping."""

import math
from collections.abc import Callable

import pytest
import torch
from scipy import stats
from torch import Tensor, nn

from robustlab.attacks import GaussianNoise
from robustlab.core.errors import RobustlabError
from robustlab.threats import L2, Linf, ThreatModel, Unbounded

ANY = Unbounded()
N, SHAPE = 200, (1, 10, 10)


@pytest.fixture
def noisy(make_linear: Callable[..., nn.Module]) -> Callable[..., Tensor]:
    def make(level: float, std: float, threat: ThreatModel = ANY, seed: int = 0) -> Tensor:
        images = torch.full((N, *SHAPE), level)
        labels = torch.zeros(N, dtype=torch.int64)
        model = make_linear(shape=SHAPE)
        return GaussianNoise(std=std).run(model, images, labels, threat, seed=seed, early_stop=False).images

    return make


def test_the_noise_is_normal(noisy: Callable[..., Tensor]) -> None:
    noise = (noisy(0.5, 0.08) - 0.5).double()  # the walls of the box are more than 6 deviations away
    assert stats.kstest(noise.flatten().numpy() / 0.08, "norm").pvalue > 1e-4
    n = noise.numel()
    assert abs(float(noise.mean())) < 5 * 0.08 / math.sqrt(n)
    assert abs(float(noise.std()) / 0.08 - 1) < 5 / math.sqrt(2 * n)


def test_every_pixel_of_every_image_has_noise_of_its_own(noisy: Callable[..., Tensor]) -> None:
    flat = (noisy(0.5, 0.08) - 0.5).flatten(1).double()
    images, pixels = torch.corrcoef(flat), torch.corrcoef(flat.T)
    assert (images - torch.eye(N)).abs().max() < 6 / math.sqrt(100)
    assert (pixels - torch.eye(100)).abs().max() < 6 / math.sqrt(N)
    assert abs(float((flat * (noisy(0.5, 0.08, seed=1) - 0.5).flatten(1)).mean())) < 5 * 0.08**2 / math.sqrt(
        N * 100
    )


@pytest.mark.parametrize("level", [0.0, 0.2, 1.0])
def test_what_leaves_the_range_is_clipped_to_its_end(noisy: Callable[..., Tensor], level: float) -> None:
    images = noisy(level, 0.3)
    n = images.numel()
    for end, share in ((0.0, stats.norm.cdf(-level / 0.3)), (1.0, stats.norm.sf((1 - level) / 0.3))):
        found = float((images == end).double().mean())
        assert abs(found - share) < 5 * math.sqrt(share * (1 - share) / n) + 1e-4


@pytest.mark.parametrize("threat", [Linf(eps=0.05), L2(eps=0.5)], ids=repr)
def test_it_is_not_made_for_a_ball(noisy: Callable[..., Tensor], threat: ThreatModel) -> None:
    with pytest.raises(RobustlabError, match=r"gaussian_noise supports unbounded, not l"):
        noisy(0.5, 0.2, threat)


def test_no_noise_changes_nothing(noisy: Callable[..., Tensor]) -> None:
    assert torch.equal(noisy(0.3, 0.0), torch.full((N, *SHAPE), 0.3))


def test_the_same_noise_grows_with_std(noisy: Callable[..., Tensor]) -> None:
    assert torch.allclose((noisy(0.5, 0.08) - 0.5) / 2, noisy(0.5, 0.04) - 0.5, atol=1e-6)
