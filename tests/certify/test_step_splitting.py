"""Splitting on the results of thresholds: exactly what the reachable black and white images show."""

import itertools

import pytest
import torch
from torch import Tensor, nn

from robustlab.certify import IBP, AlphaCROWN, AutoCertifier, StepSplitting
from robustlab.core import seeding
from robustlab.models import Threshold
from robustlab.threats import Linf

THREAT = Linf(eps=0.2)
SHAPE = (1, 3, 4)
N = 24


def behind(seed: int) -> nn.Module:
    with seeding.isolated(seed):
        network = nn.Sequential(
            nn.Conv2d(1, 4, 2), nn.ReLU(), nn.Flatten(), nn.Linear(24, 12), nn.ReLU(), nn.Linear(12, 3)
        )
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.mul_(2.5)
    return network.eval()


def images_of(seed: int) -> Tensor:
    return seeding.uniform(seed, torch.arange(N), SHAPE)


def smallest_margins(network: nn.Module, images: Tensor, labels: Tensor, at: float) -> Tensor:
    """Return (N,) the smallest margin over all black and white images that can be reached."""
    every = torch.tensor(list(itertools.product((0.0, 1.0), repeat=12))).view(-1, *SHAPE)
    wrong = (images >= at)[:, None] != (every > 0)
    reached = torch.where(wrong, (images[:, None] - at).abs(), 0.0).flatten(2).amax(dim=2) <= THREAT.eps
    logits = network(every).double().detach()
    here = logits[:, labels].T
    others = logits[None].masked_fill(nn.functional.one_hot(labels, 3).bool()[:, None], -torch.inf)
    margins: Tensor = (here - others.amax(dim=2)).where(reached, torch.inf).amin(dim=1)
    return margins


@pytest.mark.parametrize("at", [0.3, 0.5])
@pytest.mark.parametrize("seed", range(2, 7))
def test_it_decides_every_image(seed: int, at: float) -> None:
    network, images = behind(seed), images_of(seed)
    model = nn.Sequential(Threshold(at), network).eval()
    labels = model(images).argmax(dim=1)
    truth = smallest_margins(network, images, labels, at)
    proven = StepSplitting().certify(model, images, labels, THREAT)
    clear = truth.abs() > 1e-4
    assert torch.equal(proven[clear], truth[clear] > 0)
    assert not proven[truth <= 0].any()


def test_the_networks_of_these_tests_need_the_search() -> None:
    counts = torch.zeros(3)
    for seed in range(2, 7):
        model, images = nn.Sequential(Threshold(0.5), behind(seed)).eval(), images_of(seed)
        labels = model(images).argmax(dim=1)
        ibp, split = (each.certify(model, images, labels, THREAT) for each in (IBP(), StepSplitting()))
        assert not (ibp & ~split).any()
        counts += torch.tensor([ibp.sum(), split.sum(), N])
    assert counts[0] + 5 < counts[1] < counts[2] - 5


def test_the_limit_leaves_images_open() -> None:
    model, images = nn.Sequential(Threshold(0.5), behind(6)).eval(), images_of(6)
    labels = model(images).argmax(dim=1)
    few, some, many = (
        StepSplitting(cases=cases).proofs(model, images, labels, THREAT) for cases in (2, 8, 2000)
    )
    assert not (few.certified & ~some.certified).any()
    assert not (some.certified & ~many.certified).any()
    assert few.certified.sum() < many.certified.sum()
    # Those that reach the limit are left to linear bounds.
    linear = AlphaCROWN().certify(model, images, labels, THREAT)
    intervals = IBP().certify(model, images, labels, THREAT)
    assert (linear & ~intervals).any()
    assert not (linear & ~few.certified).any()
    assert few.forwards.sum() < many.forwards.sum()


class TwoSteps(nn.Module):
    """A second threshold looks at sums of the first one's results."""

    def __init__(self, seed: int) -> None:
        super().__init__()
        self.first, self.second, self.behind = Threshold(0.5), Threshold(0.25), behind(seed)

    def forward(self, images: Tensor) -> Tensor:
        seen = self.first(images)
        means = nn.functional.avg_pool2d(seen, 3, stride=1, padding=1)
        logits: Tensor = self.behind(self.second(means) + seen / 4)
        return logits


@pytest.mark.parametrize("seed", range(2))
def test_steps_behind_steps(seed: int) -> None:
    model, images = TwoSteps(seed).eval(), images_of(seed + 10)[:10]
    labels = model(images).argmax(dim=1)

    class Behind(nn.Module):
        def forward(self, seen: Tensor) -> Tensor:
            logits: Tensor = model(seen)
            return logits

    truth = smallest_margins(Behind(), images, labels, 0.5)
    proven = StepSplitting(cases=100_000).certify(model, images, labels, THREAT)
    clear = truth.abs() > 1e-4
    assert torch.equal(proven[clear], truth[clear] > 0)
    assert proven.any()


class Half(nn.Module):
    """A step with a third value at zero: a pixel at the threshold is grey."""

    def forward(self, images: Tensor) -> Tensor:
        return torch.heaviside(images - 0.5, torch.tensor(0.5))


def test_a_third_value_is_not_forgotten() -> None:
    # Grey is the only value that changes the class: with a pixel at 0 or 1, the second logit is 0.
    class Grey(nn.Module):
        def forward(self, images: Tensor) -> Tensor:
            seen = Half()(Threshold(0.1)(images) * images).flatten(1)[:, :1]
            bump = torch.relu(seen) - 2 * torch.relu(seen - 0.5)
            return torch.cat([torch.full_like(bump, 0.25), bump], dim=1)

    model, images = Grey().eval(), torch.full((1, 1, 1, 1), 0.6)
    labels = torch.zeros(1, dtype=torch.int64)
    assert model(torch.full((1, 1, 1, 1), 0.5)).argmax() == 1
    assert not StepSplitting().certify(model, images, labels, THREAT).any()


def test_a_network_without_gradients_is_decided_too() -> None:
    class Still(nn.Module):
        def forward(self, images: Tensor) -> Tensor:
            with torch.no_grad():
                logits: Tensor = model(images)
                return logits

    model, images = nn.Sequential(Threshold(0.5), behind(6)).eval(), images_of(6)
    labels = model(images).argmax(dim=1)
    plain, still = (
        StepSplitting(cases=100_000).certify(each, images, labels, THREAT) for each in (model, Still().eval())
    )
    assert torch.equal(plain, still)


def test_without_a_threshold() -> None:
    model, images = behind(1), images_of(1)
    labels = model(images).argmax(dim=1)
    assert "has no threshold" in str(StepSplitting().explain(model, images))
    assert not StepSplitting().certify(model, images, labels, THREAT).any()


def test_auto_uses_it() -> None:
    model, images = nn.Sequential(Threshold(0.5), behind(6)).eval(), images_of(6)
    labels = model(images).argmax(dim=1)
    auto, split = (
        each.certify(model, images, labels, THREAT) for each in (AutoCertifier(hope=1e9), StepSplitting())
    )
    assert torch.equal(auto, split)
    hopeless, ibp = (each.certify(model, images, labels, THREAT) for each in (AutoCertifier(hope=0), IBP()))
    assert torch.equal(hopeless, ibp)
