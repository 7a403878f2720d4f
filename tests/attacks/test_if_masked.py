"""The wrapper that runs an attack where gradients are masked."""

from typing import Any

import pytest
import torch
from small_networks import mlp
from torch import Tensor, nn

from robustlab.attacks import Attack, IfMasked, SparseRS, Square
from robustlab.attacks.gradient_agreement import LOOKS
from robustlab.core import seeding
from robustlab.core.errors import RobustlabError
from robustlab.threats import L0, L1, L2, Linf, ThreatModel

QUERIES, STEPS, POINTS = 60, 6, 4
ATTACK = IfMasked(attack=Square(queries=QUERIES), steps=STEPS, points=POINTS)
TEST = 1 + LOOKS + STEPS + 1 + POINTS + 1
"""Forward passes of the whole test: the clean image, the test, what is returned."""

SHORTEST = TEST + 1 - STEPS
"""Those of an image on which the first step along the gradient lies above all random points."""

every_norm = pytest.mark.parametrize(
    "threat", [Linf(eps=0.05), L2(eps=0.2), L1(eps=0.5), L0(eps=1)], ids=repr
)


def search(threat: ThreatModel) -> Attack:
    return next(one for one in (Square(queries=QUERIES), SparseRS(queries=QUERIES)) if one.supports(threat))


def wrapped(threat: ThreatModel) -> IfMasked:
    return IfMasked(attack=search(threat), steps=STEPS, points=POINTS)


class Rounded(nn.Module):
    """Rounds the images in which the first value is above a half, and so has no gradient there."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, images: Tensor) -> Tensor:
        masked = (images[:, :1, :1, :1] > 0.5).expand_as(images)
        logits: Tensor = self.model(torch.where(masked, (images * 50).round() / 50, images))
        return logits


@pytest.fixture
def model() -> nn.Module:
    return Rounded(mlp(hidden=30, classes=4, scale=4, seed=4)).eval()


@pytest.fixture
def images() -> Tensor:
    images = seeding.uniform(2, torch.arange(80), (1, 4, 4))
    images[:, 0, 0, 0] = torch.where(torch.arange(80) < 40, 0.0, 1.0)
    return images


@pytest.fixture
def labels(model: nn.Module, images: Tensor) -> Tensor:
    with torch.no_grad():
        predictions: Tensor = model(images).argmax(dim=1)
    return predictions


@every_norm
def test_it_attacks_where_there_is_no_gradient(
    threat: ThreatModel, model: nn.Module, images: Tensor, labels: Tensor
) -> None:
    result = wrapped(threat).run(model, images, labels, threat)
    spent = result.forwards[~result.successes]
    masked = torch.arange(80)[~result.successes] >= 40
    assert len(spent) > 30
    assert (spent[masked] == TEST + QUERIES).all()
    assert (spent[~masked] <= TEST).float().mean() > 0.8
    assert (spent[~masked] == SHORTEST).float().mean() > 0.7
    assert (result.backwards <= LOOKS + STEPS).all()


@every_norm
def test_what_it_attacks_it_attacks_as_the_attack_would(
    threat: ThreatModel, model: nn.Module, images: Tensor, labels: Tensor
) -> None:
    alone = search(threat).run(model, images[40:], labels[40:], threat, ids=torch.arange(40, 80))
    result = wrapped(threat).run(model, images[40:], labels[40:], threat, ids=torch.arange(40, 80))
    assert not (alone.successes & ~result.successes).any()
    assert alone.successes.any()


def test_max_loss_mode_spends_all_of_it_on_masked_images(
    model: nn.Module, images: Tensor, labels: Tensor
) -> None:
    result = ATTACK.run(model, images, labels, Linf(eps=0.05), early_stop=False)
    assert (result.forwards[40:] == TEST + QUERIES).all()
    assert (result.forwards[:40] == SHORTEST).float().mean() > 0.8


def test_a_factor_on_the_logits_changes_nothing(images: Tensor, labels: Tensor, model: nn.Module) -> None:
    class Scaled(nn.Module):
        def forward(self, x: Tensor) -> Any:
            return 1024 * model(x)

    one = ATTACK.run(model, images, labels, Linf(eps=0.05))
    other = ATTACK.run(Scaled().eval(), images, labels, Linf(eps=0.05))
    assert torch.equal(one.images, other.images)
    assert torch.equal(one.forwards, other.forwards)


def test_it_is_made_for_what_the_attack_is_made_for(model: nn.Module, images: Tensor, labels: Tensor) -> None:
    with pytest.raises(RobustlabError, match=r"square supports .*, not l0"):
        ATTACK.run(model, images, labels, L0(eps=3))
