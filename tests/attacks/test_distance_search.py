"""DistanceSearch finds the nearest success of a linear model, and what a single walk misses."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from robustlab.attacks import FMN, DistanceSearch
from robustlab.threats import L1, L2, ThreatModel

Make = Callable[..., Any]


def distances(model: nn.Module, images: Tensor, labels: Tensor, threat: ThreatModel) -> Tensor:
    """Return each image's distance to the boundary of a linear model of two classes, without the box."""
    layer = model[1]  # type: ignore[index]
    logits = model(images).detach()
    gap = logits.gather(1, labels[:, None]).squeeze(1) - logits.gather(1, (1 - labels)[:, None]).squeeze(1)
    normal = (layer.weight[1 - labels] - layer.weight[labels]).view_as(images)
    distance: Tensor = gap / threat.dual_norm(normal)
    return distance


@pytest.mark.parametrize("threat", [L2(eps=1.0), L1(eps=1.0)], ids=repr)
def test_it_breaks_what_can_be_broken_on_a_linear_model(
    make_linear: Make, make_batch: Make, threat: ThreatModel
) -> None:
    model = make_linear(classes=2, scale=0.5)
    images = 0.4 + 0.2 * make_batch(60, classes=2).images
    labels = model(images).argmax(dim=1)
    nearest = distances(model, images, labels, threat)
    for share, breaks in ((1.02, True), (0.98, False)):
        # Where the box is out of reach. In L1 a single value moves.
        inside = share * nearest < (0.3 if threat.order == 1 else 0.5)
        assert inside.sum() > 10
        result = DistanceSearch().run(
            model, images[inside], labels[inside], threat, eps=share * nearest[inside]
        )
        assert (result.successes == breaks).all()


def test_images_that_are_far_from_the_boundary_are_given_up(make_linear: Make, make_batch: Make) -> None:
    model, batch = make_linear(classes=2), make_batch(30, classes=2)
    labels = model(batch.images).argmax(dim=1)
    eps = (0.3 * distances(model, batch.images, labels, L2(eps=1.0))).clamp(max=0.3)
    attack = DistanceSearch(survey=8, steps=4, rounds=10)
    result = attack.run(model, batch.images, labels, L2(eps=1.0), eps=eps)
    assert not result.successes.any()
    # A walk towards the single wrong class, and two or three rounds: the later ones come hardly nearer.
    assert ((result.backwards >= 8 + 2 * 3 * 4) & (result.backwards <= 8 + 3 * 3 * 4)).all()
    full = attack.run(model, batch.images, labels, L2(eps=1.0), eps=eps, early_stop=False)
    assert (full.backwards == 8 + 10 * 3 * 4).all()


def test_the_scale_of_the_logits_does_not_matter(make_linear: Make, make_batch: Make) -> None:
    batch = make_batch(40, classes=2)
    labels = make_linear(classes=2)(batch.images).argmax(dim=1)
    found = [
        DistanceSearch(rounds=4)
        .run(make_linear(classes=2, scale=scale), batch.images, labels, L2(eps=0.3))
        .successes
        for scale in (1.0, 1e-3, 1e3)
    ]
    assert 0 < found[0].sum() < 40
    assert torch.equal(found[0], found[1])
    assert torch.equal(found[0], found[2])


class TwoRegions(nn.Module):
    """The other class fills a far half-space, where the gradient leads, and a near one elsewhere."""

    def forward(self, images: Tensor) -> Tensor:
        moved = images - 0.5
        right, down = moved[:, 0, 0, 0], moved[:, 0, 1, 1]
        far = right - 0.4
        # Its slope is zero at the clean image, and steep further out.
        near = torch.where(down > 0.05, 20 * (down - 0.2), torch.full_like(down, -3.0))
        return torch.stack([torch.zeros_like(far), torch.maximum(far, near)], dim=1)


def test_noise_finds_a_nearer_region_than_one_walk() -> None:
    images, labels = torch.full((20, 1, 2, 2), 0.5), torch.zeros(20, dtype=torch.long)
    threat = L2(eps=0.25)
    assert not FMN(steps=400).run(TwoRegions().eval(), images, labels, threat).successes.any()
    attack = DistanceSearch(keep=10.0, tighten=1.0)
    assert attack.run(TwoRegions().eval(), images, labels, threat).successes.all()


class Shadowed(nn.Module):
    """The most likely wrong class is out of reach; the second one is nearer than it seems."""

    def forward(self, images: Tensor) -> Tensor:
        moved = images - 0.5
        near, far = moved[:, :, :4].flatten(1).sum(dim=1), moved[:, :, 4:].flatten(1).sum(dim=1)
        return torch.stack([torch.zeros_like(near), 0.001 * near - 0.1, 0.5 * far - 1.0], dim=1)


def test_it_aims_at_classes_that_are_hidden_by_a_more_likely_one() -> None:
    images, labels = torch.full((8, 1, 8, 8), 0.5), torch.zeros(8, dtype=torch.long)
    for aims in (1, 2):
        # A single short walk hardly leaves the most likely class behind.
        attack = DistanceSearch(survey=5, aims=aims, rounds=1, steps=1)
        result = attack.run(Shadowed().eval(), images, labels, L2(eps=0.5))
        assert result.successes.all() == (aims == 2)


class Edge(nn.Module):
    """One value alone reaches the other class within L1; near the clean image the others seem to."""

    def forward(self, images: Tensor) -> Tensor:
        moved = (images - 0.5).flatten(1)
        single, rest = moved[:, 0], moved[:, 1:].clamp(max=0.01).sum(dim=1)
        score = torch.maximum(30 * (single - 0.35), 0.5 * rest - 0.5)
        return torch.stack([torch.zeros_like(score), score], dim=1)


def test_within_l1_a_walk_from_outside_finds_what_the_others_miss(monkeypatch: pytest.MonkeyPatch) -> None:
    images, labels = torch.full((20, 1, 6, 6), 0.5), torch.zeros(20, dtype=torch.long)
    attack = DistanceSearch(survey=20, rounds=12, keep=1e9, tighten=1.0)
    found = int(attack.run(Edge().eval(), images, labels, L1(eps=0.4)).successes.sum())
    monkeypatch.setattr(DistanceSearch, "_from_outside", lambda *given: given[2])
    without = int(attack.run(Edge().eval(), images, labels, L1(eps=0.4)).successes.sum())
    assert found > without


class Constant(nn.Module):
    """Always the same answer, which follows the image nowhere."""

    def forward(self, images: Tensor) -> Tensor:
        zero = 0.0 * images.flatten(1).sum(dim=1)
        return torch.stack([zero + 1.0, zero], dim=1)


@pytest.mark.parametrize("threat", [L2(eps=0.5), L1(eps=2.0)], ids=repr)
@pytest.mark.parametrize("early_stop", [True, False])
def test_without_any_success_nothing_is_found(threat: ThreatModel, early_stop: bool) -> None:
    images, labels = torch.rand(6, 1, 4, 4), torch.zeros(6, dtype=torch.long)
    result = DistanceSearch(steps=3, rounds=5).run(
        Constant().eval(), images, labels, threat, early_stop=early_stop
    )
    assert not result.successes.any()
    assert torch.equal(result.images, images)
