"""SPSA: its estimate is the gradient, and it sees through what masks gradients."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from robustlab.attacks import PGD, SPSA, Attack, Session, SPSAGradient
from robustlab.core import seeding
from robustlab.threats import L2, Linf

SHAPE = (2, 4, 3)


def estimates(model: nn.Module, images: Tensor, labels: Tensor, pairs: int) -> Tensor:
    found: list[Tensor] = []

    class Probe(Attack):
        name = "probe"
        estimator = SPSAGradient(pairs=pairs)

        def search(self, session: Session) -> None:
            found.append(session.gradient(session.clean, "margin", propose=False))

    Probe().run(model, images, labels, Linf(eps=0.1), early_stop=False)
    return found[0]


@pytest.mark.parametrize("walls", [False, True])
def test_the_estimate_is_the_gradient(walls: bool, make_linear: Callable[..., nn.Module]) -> None:
    model: Any = make_linear(classes=2, shape=SHAPE)
    images = seeding.uniform(1, torch.arange(30), SHAPE)
    if walls:
        images = (images > 0.5).float()
    labels = torch.zeros(30, dtype=torch.int64)
    true = (model[1].weight[1] - model[1].weight[0]).detach().expand(30, -1)
    similarity = [
        torch.cosine_similarity(estimates(model, images, labels, pairs).flatten(1), true).mean()
        for pairs in (4, 30, 2000)
    ]
    assert 0.2 < similarity[0] < similarity[1] < similarity[2]
    assert similarity[2] > 0.98
    # Its length is right too, also where a pixel can move to one side alone.
    length = estimates(model, images, labels, 2000).flatten(1).norm(dim=1)
    assert torch.allclose(length, true.norm(dim=1), rtol=0.1)


class Stairs(nn.Module):
    """Rounds the pixels to steps of a twentieth: the gradient is zero everywhere."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.model((x * 20).round() / 20)
        return logits


@pytest.mark.parametrize("threat", [Linf(eps=0.12), L2(eps=0.5)], ids=repr)
def test_it_finds_what_masked_gradients_hide(
    threat: Linf | L2, make_linear: Callable[..., nn.Module]
) -> None:
    model = Stairs(make_linear(classes=3, shape=SHAPE)).eval()
    images = seeding.uniform(2, torch.arange(40), SHAPE)
    with torch.no_grad():
        labels = model(images).argmax(dim=1)
    masked = PGD(steps=20).run(model, images, labels, threat).successes
    found = SPSA(steps=15, pairs=32, delta=0.05).run(model, images, labels, threat).successes
    assert masked.sum() < 0.4 * found.sum()
    assert found.sum() > 25


def test_the_price(make_linear: Callable[..., nn.Module]) -> None:
    model = make_linear(classes=3, shape=SHAPE)
    images = seeding.uniform(2, torch.arange(7), SHAPE)
    labels = torch.zeros(7, dtype=torch.int64)
    result = SPSA(steps=3, pairs=11).run(model, images, labels, Linf(eps=0.1), early_stop=False)
    assert (result.forwards == 3 * (2 * 11 + 1) + 1).all()
    assert not result.backwards.any()
