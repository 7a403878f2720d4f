"""How an attack of ours is compared with a peer's: on what, and by which measure."""

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from peer_adapters import Call, robustlab
from peers import correct, inside
from robustlab.attacks import FGSM, Attack
from robustlab.core import seeding
from robustlab.data import Splits
from robustlab.threats import Linf, ThreatModel


@dataclass(frozen=True, kw_only=True, eq=False)
class Subject:
    """What is attacked; it equals only itself, so that results for it can be cached."""

    model: nn.Module
    images: Tensor
    labels: Tensor


@functools.cache
def part(subject: Subject, count: int) -> Subject:
    """Return the same model with fewer images."""
    return Subject(model=subject.model, images=subject.images[:count], labels=subject.labels[:count])


def trained(digits: Splits, count: int) -> Subject:
    """Train a small CNN for a few seconds, on clean and FGSM images, so that attacks differ on it."""
    images, labels = digits.train.pixels(slice(None)), digits.train.labels
    with seeding.isolated(1):
        model = nn.Sequential(
            nn.Conv2d(1, 8, 4, stride=2, padding=1),
            nn.ReLU(),
            nn.Conv2d(8, 16, 4, stride=2, padding=1),
            nn.ReLU(),
            nn.Flatten(),
            nn.Linear(16 * 7 * 7, 10),
        ).eval()
        optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
        for _ in range(8):
            for rows in torch.split(torch.randperm(len(images)), 64):
                clean, truth = images[rows], labels[rows]
                attacked = FGSM().run(model, clean, truth, Linf(eps=0.1), early_stop=False).images
                optimizer.zero_grad()
                logits = model(torch.cat([clean, attacked]))
                F.cross_entropy(logits, truth.repeat(2)).backward()  # type: ignore[no-untyped-call]
                optimizer.step()
    test = digits.test
    return Subject(model=model, images=test.pixels(slice(count)), labels=test.labels[:count])


Measure = Callable[[Subject, ThreatModel, Tensor, Tensor], None]
"""Compares our images with a peer's, or fails."""


def same_images(tolerance: float) -> Measure:
    """Every pixel is the peer's."""

    def check(subject: Subject, threat: ThreatModel, ours: Tensor, theirs: Tensor) -> None:  # noqa: ARG001
        torch.testing.assert_close(ours, theirs, atol=tolerance, rtol=0)

    return check


def accuracy_within(tolerance: float) -> Measure:
    """At most this much more accuracy is left than by the peer."""

    def left(subject: Subject, threat: ThreatModel, found: Tensor) -> float:
        assert inside(found, subject.images, threat).all()
        robust = correct(subject.model, subject.images, subject.labels)
        return (robust & correct(subject.model, found, subject.labels)).double().mean().item()

    def check(subject: Subject, threat: ThreatModel, ours: Tensor, theirs: Tensor) -> None:
        mine, other = left(subject, threat, ours), left(subject, threat, theirs)
        assert mine <= other + tolerance, f"ours {mine:.2%}, theirs {other:.2%}"

    return check


def median_within(ratio: float) -> Measure:
    """The median distance of misclassified images is at most this many times the peer's."""

    def median(subject: Subject, threat: ThreatModel, found: Tensor) -> float:
        assert inside(found, subject.images, threat).all()
        distances = threat.distance(found, subject.images)
        distances[correct(subject.model, found, subject.labels)] = torch.inf
        distances[~correct(subject.model, subject.images, subject.labels)] = 0
        return distances.median().item()

    def check(subject: Subject, threat: ThreatModel, ours: Tensor, theirs: Tensor) -> None:
        mine, other = median(subject, threat, ours), median(subject, threat, theirs)
        assert mine < torch.inf
        assert mine <= ratio * other, f"ours {mine:.4g}, theirs {other:.4g}"

    return check


def against(
    name: str,
    attack: Attack,
    threat: ThreatModel,
    calls: dict[str, Call],
    measure: Measure,
    *,
    images: int,
    early_stop: bool = True,
) -> list[Any]:
    """Return a case per peer that runs the attack; ours runs once for all of them."""
    ours = functools.cache(robustlab(attack, threat, early_stop=early_stop))
    return [
        pytest.param(peer, ours, call, threat, measure, images, id=f"{name}-{threat.name}-{peer}")
        for peer, call in calls.items()
    ]
