"""MarginSearch search finds what a linear model has, and leaves the images that resist."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from robustlab.attacks import MarginSearch
from robustlab.threats import Linf

Make = Callable[..., Any]


def linear_margins(model: nn.Module, images: Tensor, labels: Tensor, eps: float | Tensor) -> Tensor:
    """The best margin within the ball and the box, in closed form (two classes)."""
    layer = model[1]  # type: ignore[index]
    eps = eps[:, None, None, None] if isinstance(eps, Tensor) else eps
    direction = (layer.weight[1 - labels] - layer.weight[labels]).view_as(images)
    moved = (images + eps * direction.sign()).clamp(0, 1)
    logits: Tensor = model(moved).detach()
    return logits.gather(1, (1 - labels)[:, None]).squeeze(1) - logits.gather(1, labels[:, None]).squeeze(1)


def test_it_breaks_exactly_what_can_be_broken_on_a_linear_model(make_linear: Make, make_batch: Make) -> None:
    model = make_linear(classes=2, scale=0.5)
    batch = make_batch(200, classes=2)
    labels = model(batch.images).argmax(dim=1)
    best = linear_margins(model, batch.images, labels, 0.1)
    clear = best.abs() > 1e-4
    result = MarginSearch().run(model, batch.images, labels, Linf(eps=0.1))
    assert 20 < (best > 0).sum() < 180
    assert torch.equal(result.successes[clear], (best > 0)[clear])


def test_images_that_resist_cost_the_survey_and_one_round(make_linear: Make, make_batch: Make) -> None:
    model = make_linear(classes=2)
    batch = make_batch(50, classes=2)
    labels = model(batch.images).argmax(dim=1)
    # Within so small a ball no margin shrinks to a quarter, unless it was tiny.
    left = linear_margins(model, batch.images, labels, 1e-3)
    before = linear_margins(model, batch.images, labels, 0.0)
    attack = MarginSearch(survey=3, steps=5, rounds=10, patches=20)
    result = attack.run(model, batch.images, labels, Linf(eps=1e-3))
    stiff = left < 0.9 * before
    assert stiff.sum() > 30
    # In a round two short searches. There is a single wrong class, so none is aimed at.
    assert (result.backwards[stiff] == 3 * 5 + 2 * 2).all()
    # The patches, a look at the clean image, the last point of each search, and the verdict.
    assert (result.forwards[stiff] == 3 * 5 + 2 * 2 + 20 + 5 + 2).all()
    full = attack.run(model, batch.images, labels, Linf(eps=1e-3), early_stop=False)
    # Of ten rounds the fourth has a search from far away; that of the eighth would aim at another class.
    assert (full.backwards == 3 * 5 + 10 * 4 + 5).all()


def test_a_margin_that_gives_way_keeps_an_image_in(make_linear: Make, make_batch: Make) -> None:
    model = make_linear(classes=2)
    batch = make_batch(50, classes=2)
    labels = model(batch.images).argmax(dim=1)
    before = linear_margins(model, batch.images, labels, 0.0)
    # One radius for each image, at which nothing breaks but its margin is nearly gone.
    eps = torch.ones(50)
    for _ in range(60):
        eps = torch.where(linear_margins(model, batch.images, labels, eps) > 0.05 * before, eps * 0.9, eps)
    near = linear_margins(model, batch.images, labels, eps) > 0.3 * before
    assert near.sum() > 20
    attack = MarginSearch(survey=1, steps=5, rounds=2, patches=5, keep=0.5, tighten=1.0)
    result = attack.run(model, batch.images, labels, Linf(eps=1.0), eps=eps)
    assert not result.successes.any()
    assert (result.backwards[near] == 5 + 2 * 4).all()


def test_the_scale_of_the_logits_does_not_matter(make_linear: Make, make_batch: Make) -> None:
    batch = make_batch(60, classes=2)
    plain = make_linear(classes=2)
    labels = plain(batch.images).argmax(dim=1)
    attack = MarginSearch(survey=2, steps=5, rounds=3, patches=10)
    found = [
        attack.run(make_linear(classes=2, scale=scale), batch.images, labels, Linf(eps=0.05)).successes
        for scale in (1.0, 1e-3, 1e3)
    ]
    assert found[0].any()
    assert torch.equal(found[0], found[1])
    assert torch.equal(found[0], found[2])


class Shadowed(nn.Module):
    """The most likely wrong class hardly moves; the second one is further away and moves much."""

    def forward(self, images: Tensor) -> Tensor:
        moved = images - 0.5
        near, far = moved[:, :, :4].flatten(1).sum(dim=1), moved[:, :, 4:].flatten(1).sum(dim=1)
        # So large that cross-entropy has no gradient of the second one either.
        return 1000 * torch.stack([torch.zeros_like(near), 0.001 * near - 0.1, 0.5 * far - 1.0], dim=1)


def test_it_aims_at_classes_that_are_hidden_by_a_more_likely_one() -> None:
    images, labels = torch.full((8, 1, 8, 8), 0.5), torch.zeros(8, dtype=torch.long)
    broken = [
        MarginSearch(aims=aims, rounds=0).run(Shadowed().eval(), images, labels, Linf(eps=0.1)).successes
        for aims in (0, 1)
    ]
    assert not broken[0].any()
    assert broken[1].all()


class Bumpy(nn.Module):
    """Each pixel has a low maximum at its lowest value and a higher one at its highest value."""

    def forward(self, images: Tensor) -> Tensor:
        moved = (images - 0.5) / 0.1
        gain = torch.where(moved < 0.2, -0.5 * moved, 0.8 * moved).flatten(1).mean(dim=1)
        return torch.stack([torch.zeros_like(gain), gain - 0.72], dim=1)


def test_small_changes_near_the_best_point_add_up() -> None:
    images, labels = torch.full((8, 1, 8, 8), 0.5), torch.zeros(8, dtype=torch.long)
    attack = MarginSearch(rounds=40, patches=0, keep=1.0, tighten=1.0)
    survey = MarginSearch(rounds=0).run(Bumpy().eval(), images, labels, Linf(eps=0.1)).successes
    assert not survey.any()
    assert attack.run(Bumpy().eval(), images, labels, Linf(eps=0.1)).successes.all()
