"""Laws that every attack obeys on every classifier, within every threat model."""

import dataclasses
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import torch
from attack_cases import (
    ATTACKS,
    both_modes,
    every_attack,
    every_pair,
    made_for,
    one_for,
    run,
    with_mistakes,
)
from small_networks import Counting, mlp
from torch import nn

from robustlab.attacks import (
    APGD,
    CW,
    DDN,
    EAD,
    FGSM,
    PGD,
    Attack,
    FlipSearch,
    GaussianNoise,
    IfMasked,
    MarginSearch,
    RandomPoints,
    Restarts,
    Square,
)
from robustlab.core.errors import RobustlabError
from robustlab.core.spec import units
from robustlab.threats import L1, L2, Linf, ThreatModel, Unbounded


@pytest.fixture(scope="module")
def model() -> nn.Module:
    return mlp()


@pytest.fixture
def batch(model: nn.Module, make_batch: Callable[..., Any]) -> Any:
    return with_mistakes(make_batch(40), model)


def test_every_registered_attack_is_tried() -> None:
    assert {attack.name for attack in ATTACKS} == set(units(Attack))


@both_modes
@every_pair
def test_results_are_allowed_and_true(
    attack: Attack, threat: ThreatModel, early_stop: bool, model: nn.Module, batch: Any
) -> None:
    result = run(attack, model, batch, threat, early_stop=early_stop)
    assert result.images.shape == batch.images.shape
    assert result.images.dtype == torch.float32
    assert result.images.min() >= 0
    assert result.images.max() <= 1
    assert (result.distances <= threat.eps * (1 + 1e-6) + 1e-6).all()
    assert torch.equal(result.distances, threat.distance(result.images, batch.images))
    with torch.no_grad():
        confidences, predictions = model(result.images).softmax(dim=1).max(dim=1)
    assert torch.equal(result.predictions, predictions)
    assert torch.allclose(result.confidences, confidences, atol=1e-6)
    for name in ("predictions", "confidences", "distances", "forwards", "backwards", "restarts"):
        assert getattr(result, name).shape == (40,)
    found = result.restarts
    assert ((found >= -1) & (found < attack.restart_count)).all()
    assert torch.equal(result.images[found == -1], batch.images[found == -1])


@every_pair
def test_a_verdict_leaves_misclassified_images_alone(
    attack: Attack, threat: ThreatModel, model: nn.Module, batch: Any
) -> None:
    with torch.no_grad():
        wrong = model(batch.images).argmax(dim=1) != batch.labels
    assert 0 < wrong.sum() < 40
    result = run(attack, model, batch, threat)
    assert torch.equal(result.images[wrong], batch.images[wrong])
    assert not result.distances[wrong].any()
    assert (result.restarts[wrong] == -1).all()
    assert (result.forwards[wrong] >= 2).all()  # looked at in the beginning and in the end
    unbroken = result.predictions == batch.labels
    if isinstance(attack, IfMasked):  # it may leave an image alone as it is
        assert torch.equal(result.restarts < 0, wrong | (unbroken & (result.restarts < 0)))
    else:
        assert torch.equal(result.restarts < 0, wrong | (unbroken & attack.inner.minimum_norm))


@both_modes
@every_attack
def test_eps_0_changes_nothing(attack: Attack, early_stop: bool, model: nn.Module, batch: Any) -> None:
    for threat in filter(partial(made_for, attack), (Linf(eps=0.0), L2(eps=0.0), L1(eps=0.0))):
        result = run(attack, model, batch, threat, early_stop=early_stop)
        assert torch.equal(result.images, batch.images)
        assert not result.distances.any()
        with torch.no_grad():
            assert torch.equal(result.predictions, model(batch.images).argmax(dim=1))


@every_pair
def test_the_modes_break_the_same_images(
    attack: Attack, threat: ThreatModel, model: nn.Module, batch: Any
) -> None:
    # Stopping at the first success saves passes and loses nothing: a success is never given up again.
    verdict = run(attack, model, batch, threat)
    full = run(attack, model, batch, threat, early_stop=False)
    with torch.no_grad():
        right = model(batch.images).argmax(dim=1) == batch.labels
    broken = verdict.predictions != batch.labels
    assert torch.equal(broken[right], (full.predictions != batch.labels)[right])
    assert (verdict.backwards <= full.backwards).all()
    unbroken = right & ~broken
    assert torch.allclose(verdict.images[unbroken], full.images[unbroken], atol=1e-5)


@both_modes
@every_attack
def test_any_number_of_classes_and_channels_and_any_shape(
    attack: Attack, early_stop: bool, make_linear: Callable[..., nn.Module], make_batch: Callable[..., Any]
) -> None:
    threat = one_for(attack)
    for classes, shape in ((2, (2, 3, 7)), (100, (4, 6, 2)), (10, (3, 1, 8))):
        model, batch = make_linear(classes=classes, shape=shape), make_batch(6, shape=shape, classes=classes)
        result = run(attack, model, batch, threat, early_stop=early_stop)
        assert result.images.shape == batch.images.shape
        assert (result.distances <= threat.eps * (1 + 1e-6) + 1e-6).all()


@every_attack
def test_where_all_is_misclassified_nothing_is_left_to_do(
    attack: Attack, model: nn.Module, batch: Any
) -> None:
    with torch.no_grad():
        wrong = (model(batch.images).argmax(dim=1) + 1) % 3
    result = run(attack, model, dataclasses.replace(batch, labels=wrong), one_for(attack))
    assert result.successes.all()
    assert torch.equal(result.images, batch.images)
    assert (result.forwards == 2).all()


@every_attack
def test_no_images_give_an_empty_result(attack: Attack, model: nn.Module, batch: Any) -> None:
    result = attack.run(model, batch.images[:0], batch.labels[:0], one_for(attack))
    assert result.images.shape == (0, 1, 4, 4)
    for name in ("predictions", "confidences", "successes", "distances", "forwards", "backwards", "restarts"):
        assert getattr(result, name).shape == (0,)


@pytest.mark.parametrize("attack", [APGD(steps=20), APGD(steps=20, targets=3)], ids=repr)
def test_an_attacker_who_wants_one_class_moves_towards_it(
    attack: Attack, make_linear: Callable[..., nn.Module], make_batch: Callable[..., Any]
) -> None:
    model, batch = make_linear(classes=6, seed=5), make_batch(20, classes=6)
    order = model(batch.images).argsort(dim=1, descending=True)
    labels, unlikely = order[:, 0], order[:, 4]
    result = attack.run(model, batch.images, labels, Linf(eps=0.5), targets=unlikely)
    assert result.successes.all()
    assert torch.equal(result.predictions, unlikely)


@every_pair
def test_a_success_towards_a_class_is_that_class(
    attack: Attack, threat: ThreatModel, model: nn.Module, batch: Any
) -> None:
    targets = (batch.labels + 1) % 3
    if not attack.inner.targetable:
        with pytest.raises(RobustlabError, match="can't move towards a target class"):
            run(attack, model, batch, threat, targets=targets)
        return
    result = run(attack, model, batch, threat, targets=targets)
    assert torch.equal(result.successes, result.predictions == targets)
    with torch.no_grad():
        already = model(batch.images).argmax(dim=1) == targets
        predictions = model(result.images).argmax(dim=1)
    assert torch.equal(predictions, result.predictions)
    assert torch.equal(result.images[already], batch.images[already])
    # Those that only try, leave images alone or have too few steps may find none, and so may three pixels.
    tries = IfMasked | GaussianNoise | RandomPoints | Restarts | CW | DDN | EAD
    assert isinstance(attack, tries) or threat.name == "l0" or (result.successes & ~already).any()


# Passes


@both_modes
@every_pair
def test_the_counted_passes_are_those_the_model_sees(
    attack: Attack, threat: ThreatModel, early_stop: bool, model: nn.Module, batch: Any
) -> None:
    counting = Counting(model).eval()
    result = run(attack, counting, batch, threat, early_stop=early_stop, batch_size=16)
    assert int(result.forwards.sum()) == counting.forwards
    assert int(result.backwards.sum()) == counting.backwards


@every_attack
def test_an_attack_that_needs_no_gradient_says_so(attack: Attack, model: nn.Module, batch: Any) -> None:
    asks = run(attack, model, batch, one_for(attack), early_stop=False).backwards.any()
    # Three look for gradients first, and find what they find without.
    assert attack.needs_gradient == asks or isinstance(attack, FlipSearch | IfMasked | MarginSearch)


@pytest.mark.parametrize(
    ("attack", "forwards", "backwards"),
    [
        (FGSM(), 3, 1),
        (GaussianNoise(std=0.01), 2, 0),
        (PGD(steps=7), 9, 7),
        (PGD(steps=7, restarts=4), 33, 28),
        (Square(queries=60, restarts=2), 121, 0),
    ],
    ids=repr,
)
def test_the_price_of_an_image(
    attack: Attack, forwards: int, backwards: int, batch: Any, model: nn.Module
) -> None:
    # In max-loss mode: the search, and one look at the returned image.
    ball = attack.supports(Linf(eps=0.2))
    full = run(attack, model, batch, Linf(eps=0.2) if ball else Unbounded(), early_stop=False)
    assert (full.forwards == forwards).all()
    assert (full.backwards == backwards).all()
    # A verdict on an image that withstands costs a look at the clean image on top.
    verdict = run(attack, model, batch, Linf(eps=1e-4) if ball else Unbounded())
    withstood = (verdict.predictions == batch.labels) & (verdict.restarts >= 0)
    assert withstood.sum() > 20
    assert (verdict.forwards[withstood] == forwards + 1).all()
    assert (verdict.backwards[withstood] == backwards).all()
