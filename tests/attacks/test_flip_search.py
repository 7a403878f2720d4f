"""FlipSearch finds what exhaustive search finds, with a gradient or without."""

import itertools
from collections import OrderedDict
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from robustlab.attacks import BPDAGradient, ExactGradient, FlipSearch, Gradient, Restarts
from robustlab.core import seeding
from robustlab.models import Threshold
from robustlab.threats import Linf

SIDE, N = 4, 8


class Silent(nn.Module):
    """A threshold whose gradient is zero."""

    def forward(self, images: Tensor) -> Tensor:
        return (images.detach() >= 0.5).float()


def behind(threshold: nn.Module, seed: int) -> nn.Module:
    with seeding.isolated(seed):
        layers = [nn.Flatten(), nn.Linear(SIDE * SIDE, 12), nn.ReLU(), nn.Linear(12, 3, bias=False)]
    return nn.Sequential(OrderedDict(transform=threshold, classifier=nn.Sequential(*layers))).eval()


def best_margins(model: Any, images: Tensor, labels: Tensor, eps: float) -> Tensor:
    """Return (N,) the largest margin of another class over all black and white images within eps."""
    best = torch.full((len(images),), -torch.inf)
    for row, (image, label) in enumerate(zip(images, labels.tolist(), strict=True)):
        low, high = ((image + move >= 0.5).float().flatten() for move in (-eps, eps))
        free = (low != high).nonzero()[:, 0]
        points = low.repeat(2 ** len(free), 1)
        points[:, free] = torch.tensor(list(itertools.product((0.0, 1.0), repeat=len(free))))
        logits = model.classifier(points.view(-1, 1, SIDE, SIDE))
        others = logits.index_fill(1, torch.tensor([label]), -torch.inf).amax(dim=1)
        best[row] = (others - logits[:, label]).max()
    return best


def margins(model: nn.Module, images: Tensor, labels: Tensor) -> Tensor:
    logits, here = model(images), labels[:, None]
    others: Tensor = logits.scatter(1, here, -torch.inf).amax(dim=1)
    highest: Tensor = others - logits.gather(1, here)[:, 0]
    return highest


@pytest.mark.parametrize(
    ("threshold", "gradient"),
    [
        (Threshold(0.5), ExactGradient()),
        (Silent(), ExactGradient()),
        (Silent(), BPDAGradient(part="transform")),
    ],
)
@pytest.mark.parametrize("seed", range(3))
@torch.no_grad()
def test_it_finds_the_optimum_of_an_exhaustive_search(
    seed: int, threshold: nn.Module, gradient: Gradient
) -> None:
    model = behind(threshold, seed)
    images = seeding.uniform(seed, torch.arange(N), (1, SIDE, SIDE))
    labels = model(images).argmax(dim=1)
    best = best_margins(model, images, labels, 0.3)
    # A kick from the best corner may not reach another valley; a start at a random corner does.
    attack = Restarts(attack=FlipSearch(steps=50, gradient=gradient), times=4)
    found = attack.run(model, images, labels, Linf(eps=0.3), early_stop=False)
    assert torch.allclose(margins(model, found.images, labels), best, atol=1e-5)
    assert torch.equal(attack.run(model, images, labels, Linf(eps=0.3)).successes, best > 0)
    assert (best > 0).any(), "the case decides something"


def test_without_room_it_finds_nothing() -> None:
    model = behind(Threshold(0.5), 2)
    images = seeding.uniform(3, torch.arange(N), (1, SIDE, SIDE)).round() * 0.8 + 0.1
    labels = model(images).argmax(dim=1)
    assert not FlipSearch(steps=5).run(model, images, labels, Linf(eps=0.3)).successes.any()
