"""A success counts where it is one in fp32 and as an image that can exist; and points compare by one loss."""

import pytest
import torch
from torch import Tensor, nn

from conftest import linear_classifier, random_batch
from robustlab.attacks import (
    APGD,
    CW,
    DDN,
    FAB,
    FMN,
    MIFGSM,
    PGD,
    Attack,
    MarginSearch,
    Quantize,
    Session,
    Square,
    losses,
)
from robustlab.core.errors import RobustlabError
from robustlab.threats import L2, Linf, ThreatModel, per_image


def halfway(points: Tensor, clean: Tensor, eps: Tensor) -> Tensor:
    """Of what an attack finds only half can exist; the points of the half-way ball itself remain."""
    del eps
    return clean + 0.5 * (points - clean)


@pytest.mark.parametrize(
    ("attack", "threat"),
    [
        (PGD(), Linf(eps=0.2)),
        (PGD(), L2(eps=0.5)),
        (Square(queries=300), Linf(eps=0.2)),
        (FMN(), L2(eps=0.5)),
    ],
)
def test_only_what_can_exist_counts(attack: Attack, threat: ThreatModel) -> None:
    model, batch = linear_classifier(scale=0.4), random_batch(60)
    labels = model(batch.images).argmax(dim=1)
    asked: list[Tensor] = []

    def quantize(points: Tensor, clean: Tensor, eps: Tensor) -> Tensor:
        asked.append(eps)
        return halfway(points, clean, eps)

    free = attack.run(model, batch.images, labels, threat)
    result = attack.run(model, batch.images, labels, threat, quantize=quantize)
    assert asked, "the test tells nothing"
    assert 0 < result.successes.sum() <= free.successes.sum()
    # What is returned is what can exist, and it was measured as such.
    won = result.successes
    assert torch.equal(model(result.images).argmax(dim=1)[won], result.predictions[won])
    if not attack.minimum_norm:  # else its points may lie outside the ball
        assert won.sum() < free.successes.sum()
        assert result.distances[won].max() <= 0.5 * threat.eps + 1e-5


def small_steps(threat: ThreatModel) -> Quantize:
    """What a coarse file can hold: changes rounded to hundredths; outside the ball the clean image."""

    def quantize(points: Tensor, clean: Tensor, eps: Tensor) -> Tensor:
        rounded = (clean + ((points - clean) * 100).round() / 100).clamp(0, 1)
        inside = threat.distance(rounded, clean) <= eps
        return torch.where(per_image(inside, points), rounded, clean)

    return quantize


@pytest.mark.parametrize(
    ("attack", "threat"),
    [
        (DDN(), L2(eps=0.6)),
        (FMN(), L2(eps=0.6)),
        (FMN(), Linf(eps=0.2)),
        (FAB(targets=2), L2(eps=0.6)),
        (CW(steps=100, binary_search_steps=6, initial_const=0.01, lr=0.02), L2(eps=0.6)),
    ],
)
def test_a_search_from_outside_sees_successes_that_can_not_count(attack: Attack, threat: ThreatModel) -> None:
    # Told that nothing outside is a success, it would never turn back.
    model, batch = linear_classifier(scale=0.4), random_batch(60)
    labels = model(batch.images).argmax(dim=1)
    free = attack.run(model, batch.images, labels, threat).successes
    result = attack.run(model, batch.images, labels, threat, quantize=small_steps(threat))
    assert free.sum() > 30
    assert result.successes[free].float().mean() > 0.9
    moved = (result.images - batch.images) * 100
    off_grid = (moved - moved.round()).abs() > 1e-3
    assert not (off_grid & (result.images > 0) & (result.images < 1))[result.successes].any()


@pytest.mark.parametrize("attack", [PGD(steps=3), FAB(steps=3), MIFGSM(steps=3), APGD(steps=3)])
def test_the_callers_gradient_mode_does_not_matter(attack: Attack) -> None:
    model, batch = linear_classifier(), random_batch(20)
    expected = attack.run(model, batch.images, batch.labels, Linf(eps=0.1))
    with torch.no_grad():
        found = attack.run(model, batch.images, batch.labels, Linf(eps=0.1))
    assert torch.equal(found.images, expected.images)


class NoEmptyBatch(nn.Module):
    """Like many a classifier, it can't work on no image at all."""

    def forward(self, images: Tensor) -> Tensor:
        assert len(images) > 0
        return torch.stack([0 * images.flatten(1).sum(dim=1), images.view(len(images), -1).mean(dim=1)], 1)


def test_focused_asks_about_no_empty_batch() -> None:
    image, label = torch.full((1, 1, 4, 4), 0.5), torch.ones(1, dtype=torch.int64)
    assert MarginSearch().run(NoEmptyBatch().eval(), image, label, Linf(eps=1.0)).successes.all()


def test_a_wrong_switch_or_size_is_refused() -> None:
    model, batch = linear_classifier(), random_batch(4)
    for wrong in ({"early_stop": "max-loss"}, {"batch_size": 0}, {"eot_samples": 0}):
        with pytest.raises(RobustlabError, match="must be"):
            PGD(steps=2).run(model, batch.images, batch.labels, Linf(eps=0.1), **wrong)


class Deceptive(nn.Module):
    """Of one pixel: in bf16 everything above 0.55 is class 1, in fp32 only what is below 0.65 too."""

    def forward(self, images: Tensor) -> Tensor:
        x = images.flatten(1)[:, :1]
        rises = 10 * (x - 0.55)
        if not torch.is_autocast_enabled("cpu"):
            rises = torch.where(x > 0.65, -rises, rises)
        return torch.cat([torch.zeros_like(rises), rises], dim=1)


def test_the_confirmed_success_is_returned_where_the_highest_loss_is_none() -> None:
    image, label = torch.full((1, 1, 1, 1), 0.5), torch.zeros(1, dtype=torch.int64)
    attack = PGD(steps=3, rel_step_size=1 / 3, start="clean")
    result = attack.run(Deceptive().eval(), image, label, Linf(eps=0.3), early_stop=False, bf16=True)
    assert result.successes.all()
    assert float(result.images) == pytest.approx(0.6)
    assert result.restarts.tolist() == [0]


def huge(logits: Tensor) -> Tensor:
    return 1000 + logits[:, 0]


class Zigzag(Attack):
    """Proposes three points, each with a loss of its own kind."""

    def search(self, session: Session) -> None:
        session.query(session.clean + 0.1, huge)
        session.query(session.clean + 0.3, "margin")
        session.query(session.clean + 0.2, "cross_entropy")


def test_points_compare_by_one_loss_whatever_is_followed() -> None:
    layer = nn.Linear(1, 2)
    with torch.no_grad():
        layer.weight.copy_(torch.tensor([[-1.0], [1.0]]))
        layer.bias.copy_(torch.tensor([5.0, -5.0]))
    image, label = torch.zeros(1, 1, 1, 1), torch.zeros(1, dtype=torch.int64)
    model = nn.Sequential(nn.Flatten(), layer).eval()
    result = Zigzag().run(model, image, label, Linf(eps=0.5), early_stop=False)
    assert float(result.images) == pytest.approx(0.3)


def test_towards_a_rival_only_it_and_the_label_matter() -> None:
    logits = torch.tensor([[3.0, 2.0, 9.0, 0.0]])
    label, rival = torch.tensor([0]), torch.tensor([1])
    assert losses.measure("margin", logits, label, rivals=rival).item() == -1.0
    assert losses.measure("margin", logits, label, rival).item() == -7.0
    # Equation 8 of arXiv:2003.01690: over the first less the mean of the third and fourth.
    assert losses.measure("dlr", logits, label, rivals=rival).item() == pytest.approx(-1 / (9 - (2 + 0) / 2))


def test_a_target_that_the_classifier_does_not_know_is_refused() -> None:
    model, batch = linear_classifier(classes=3), random_batch(4)
    with pytest.raises(RobustlabError, match="outputs 3 logits, but labels and targets go up to 5"):
        APGD(steps=2).run(model, batch.images, batch.labels, Linf(eps=0.1), targets=batch.labels * 0 + 5)


class Quantised(nn.Module):
    """A classifier behind a rounding, so that no gradient says anything."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.model(images.mul(16).round().div(16))
        return logits


def test_focused_needs_no_gradient() -> None:
    batch = random_batch(60, shape=(1, 8, 8))
    linear = linear_classifier(shape=(1, 8, 8), scale=0.2)
    model, threat = Quantised(linear).eval(), Linf(eps=0.25)
    labels = model(batch.images).argmax(dim=1)
    # A gradient through the rounding, as if it were not there, finds what there is to find.
    can_be = PGD(steps=40).run(linear, batch.images, labels, Linf(eps=0.22)).successes
    found = MarginSearch().run(model, batch.images, labels, threat).successes
    assert can_be.sum() > 20
    assert found[can_be].float().mean() > 0.9


class Plateau(nn.Module):
    """Flat on the clean images, and anything but flat a little away from them."""

    def forward(self, images: Tensor) -> Tensor:
        rise = torch.relu((images - 0.5).flatten(1).abs().sum(dim=1, keepdim=True) - 0.01)
        return torch.cat([torch.full_like(rise, 0.2), rise], dim=1)


def test_ddn_leaves_a_plateau() -> None:
    images, labels = torch.full((5, 1, 4, 4), 0.5), torch.zeros(5, dtype=torch.int64)
    assert DDN().run(Plateau().eval(), images, labels, L2(eps=1.0)).successes.all()
