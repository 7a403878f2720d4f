"""Expectation over transformation: ``eot_samples`` of `Attack.run`, on random and on other classifiers."""

from collections.abc import Callable

import pytest
import torch
from small_networks import mlp
from torch import Tensor, nn

from robustlab.attacks import APGD, PGD, Attack, Square
from robustlab.core import seeding
from robustlab.threats import Linf

N = 60


class Noisy(nn.Module):
    """Adds noise to the image before a classifier sees it: a randomised defense."""

    def __init__(self, model: nn.Module, std: float) -> None:
        super().__init__()
        self.model, self.std = model, std

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.model(x + self.std * torch.randn_like(x))
        return logits


@pytest.fixture
def model() -> nn.Module:
    return mlp(hidden=30, classes=4, scale=4, seed=4)


@pytest.fixture
def images() -> Tensor:
    return seeding.uniform(2, torch.arange(N), (1, 4, 4))


def mean_classes(model: nn.Module, images: Tensor, draws: int = 400) -> Tensor:
    """The classes of highest mean probability."""
    with torch.no_grad(), seeding.isolated(0):
        chances = sum(model(images).softmax(dim=1) for _ in range(draws))
    assert isinstance(chances, Tensor)
    return chances.argmax(dim=1)


@pytest.mark.parametrize("attack", [PGD(steps=5, rel_step_size=0.3), Square(queries=30)], ids=repr)
def test_on_a_deterministic_classifier_only_the_counts_change(
    attack: Attack, make_linear: Callable[..., nn.Module], images: Tensor
) -> None:
    model = make_linear(classes=3)
    with torch.no_grad():
        labels = model(images).argmax(dim=1)
    one, other = (
        attack.run(model, images, labels, Linf(eps=0.05), eot_samples=s, early_stop=False) for s in (1, 4)
    )
    assert torch.allclose(one.images, other.images, atol=1e-5)
    assert torch.equal(one.predictions, other.predictions)
    assert torch.allclose(one.confidences, other.confidences, atol=1e-5)
    assert torch.equal(4 * one.forwards, other.forwards)
    assert torch.equal(4 * one.backwards, other.backwards)


def test_one_lucky_draw_is_no_success(model: nn.Module, images: Tensor) -> None:
    # Where the noise alone flips the class now and then, a single look would call that a success.
    random = Noisy(model, 0.1).eval()
    labels = mean_classes(random, images)
    true_share = []
    for eot_samples in (1, 40):
        result = PGD(steps=10, rel_step_size=0.2).run(
            random, images, labels, Linf(eps=0.06), eot_samples=eot_samples
        )
        told, holds = result.successes, mean_classes(random, result.images) != labels
        assert told.sum() > 10
        true_share.append(float((told & holds).sum() / told.sum()))
    assert min(true_share) > 0.7


@pytest.mark.parametrize("eot_samples", [1, 10])
@pytest.mark.parametrize("attack", [PGD(steps=20), APGD(steps=30)], ids=repr)
def test_an_image_does_not_leave_at_a_lucky_draw(attack: Attack, eot_samples: int) -> None:
    """It would not be attacked any more, and count as robust in the end."""

    class NoisyLogits(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.model = mlp(hidden=30, classes=4, scale=4, seed=4)

        def forward(self, x: Tensor) -> Tensor:
            logits: Tensor = self.model(x)
            return logits + logits.std() * torch.randn_like(logits)

    random, many = NoisyLogits().eval(), seeding.uniform(3, torch.arange(300), (1, 4, 4))
    labels = mean_classes(random, many)
    left = {
        early_stop: int(
            (
                ~attack.run(
                    random, many, labels, Linf(eps=0.12), eot_samples=eot_samples, early_stop=early_stop
                ).successes
            ).sum()
        )
        for early_stop in (True, False)
    }
    assert left[True] <= left[False] + 0.1 * len(many), left
    assert left[False] < 0.7 * len(many), left


def test_means_over_draws_find_more(model: nn.Module, images: Tensor) -> None:
    random = Noisy(model, 0.25).eval()
    labels = mean_classes(random, images)
    broken = []
    for eot_samples in (1, 30):
        result = PGD(steps=10, rel_step_size=0.2).run(
            random, images, labels, Linf(eps=0.06), eot_samples=eot_samples, early_stop=False
        )
        broken.append(int((mean_classes(random, result.images) != labels).sum()))
    assert broken[0] < broken[1]


def test_a_random_classifier_is_the_same_in_every_run(model: nn.Module, images: Tensor) -> None:
    random = Noisy(model, 0.2).eval()
    labels = mean_classes(random, images)
    state = torch.get_rng_state()
    one, other = (PGD(steps=3).run(random, images, labels, Linf(eps=0.05), eot_samples=3) for _ in range(2))
    assert torch.equal(one.images, other.images)
    assert torch.equal(torch.get_rng_state(), state)
