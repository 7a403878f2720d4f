"""A certifier reports the passes that it really took."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from robustlab.certify import Certifier, Interval
from robustlab.core import seeding
from robustlab.core.spec import parse, units
from robustlab.models import PrototypeClassifier, Shape, Threshold
from robustlab.models.randomized import MeanOfCopies, NoisyCopies
from robustlab.threats import L2, Linf, ThreatModel

N = 12
SET_UP = 8
"""Most passes on one image that only choose the way."""


def plain() -> nn.Module:
    with seeding.isolated(5):
        first, last = nn.Linear(16, 12), nn.Linear(12, 3)
    return nn.Sequential(nn.Flatten(), first, nn.ReLU(), last).eval()


def thresholded() -> nn.Module:
    return nn.Sequential(Threshold(at=0.5), plain()).eval()


def wide() -> nn.Module:
    with seeding.isolated(6):
        layers = [nn.Linear(16, 600), nn.ReLU(), nn.Linear(600, 12), nn.ReLU(), nn.Linear(12, 3)]
    return nn.Sequential(nn.Flatten(), *layers).eval()


def prototypes() -> nn.Module:
    model = PrototypeClassifier(Shape(channels=1, height=4, width=4, classes=3), 4)
    with torch.no_grad():
        model.points.copy_(seeding.uniform(3, torch.arange(3), (4, 16)))
    return model.eval()


def smoothed() -> nn.Module:
    return MeanOfCopies(NoisyCopies(std=0.25, copies=2, seed=None), plain()).eval()


Case = tuple[str, Callable[[], nn.Module], ThreatModel]
CASES: list[Case] = [
    ("ibp", plain, Linf(eps=0.02)),
    ("ibp", plain, L2(eps=0.1)),
    ("crown_ibp", plain, Linf(eps=0.04)),
    ("crown", plain, Linf(eps=0.06)),
    ("crown", wide, Linf(eps=0.02)),
    ("alpha_crown(steps=2)", plain, Linf(eps=0.06)),
    ("alpha_crown(steps=2)", wide, Linf(eps=0.02)),
    ("branch_and_bound(cases=9, steps=2)", plain, Linf(eps=0.08)),
    ("step_splitting(cases=9)", thresholded, Linf(eps=0.05)),
    ("auto", plain, Linf(eps=0.05)),
    ("auto(alpha=true)", plain, Linf(eps=0.05)),
    ("auto(work=0, hope=0.5)", wide, Linf(eps=0.01)),
    ("auto", thresholded, Linf(eps=0.05)),
    ("auto", plain, L2(eps=0.1)),
    ("auto", prototypes, L2(eps=0.1)),
    ("nearest_prototype", prototypes, L2(eps=0.1)),
    ("smoothing(n=30, n0=7)", smoothed, L2(eps=0.1)),
]


def test_every_certifier_is_counted() -> None:
    assert {parse(Certifier, spec).name for spec, *_ in CASES} == set(units(Certifier))


@pytest.mark.parametrize(
    ("spec", "make", "threat"), CASES, ids=lambda value: getattr(value, "__name__", str(value))
)
def test_the_passes_are_those_that_were_taken(
    spec: str, make: Callable[[], nn.Module], threat: ThreatModel
) -> None:
    model, certifier = make(), parse(Certifier, spec)
    images = seeding.uniform(4, torch.arange(N), (1, 4, 4))
    with torch.no_grad():
        right = model(images).argmax(dim=1)
    labels = torch.where(torch.arange(N) % 4 == 0, (right + 1) % 3, right)
    taken = 0

    def note(_: nn.Module, given: tuple[Tensor, ...]) -> None:
        nonlocal taken
        taken += len(given[0]) * (2 if isinstance(given[0], Interval) else 1)

    asked = model.classifier if isinstance(model, MeanOfCopies) else model
    asked.register_forward_pre_hook(note)

    def counted(copies: int) -> tuple[int, int]:
        """Return the passes taken and reported for so many copies of the images."""
        nonlocal taken
        taken = 0
        many = images.repeat(copies, 1, 1, 1), labels.repeat(copies)
        certifier.explain(model, many[0])
        looked, taken = taken, 0
        result = certifier.proofs(model, *many, threat)
        return taken - looked, int(result.forwards.sum())

    once, twice = counted(1), counted(2)
    assert twice[0] - once[0] == twice[1] - once[1] == once[1]
    assert 0 <= once[0] - once[1] <= SET_UP
