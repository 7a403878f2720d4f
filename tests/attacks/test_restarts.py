"""The wrapper that runs an attack several times."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from small_networks import mlp
from torch import Tensor, nn

from robustlab.attacks import APGD, FGSM, PGD, Attack, Corruption, HopSkipJump, Restarts
from robustlab.core import seeding
from robustlab.core.errors import RobustlabError
from robustlab.core.spec import parse
from robustlab.threats import L0, L1, L2, Linf, Unbounded


@pytest.fixture
def model() -> nn.Module:
    return mlp(hidden=30, classes=4, scale=4, seed=4)


@pytest.fixture
def images() -> Tensor:
    return seeding.uniform(2, torch.arange(80), (1, 4, 4))


@pytest.fixture
def labels(model: nn.Module, images: Tensor) -> Tensor:
    with torch.no_grad():
        predictions: Tensor = model(images).argmax(dim=1)
    return predictions


def test_its_spec_holds_the_attacks() -> None:
    attack = parse(Attack, "restarts(attack=pgd(steps=3), times=4)")
    assert attack == Restarts(attack=PGD(steps=3), times=4)
    assert parse(Attack, repr(attack)) == attack


@pytest.mark.parametrize("attack", [PGD(steps=3), APGD(steps=4, targets=2)], ids=repr)
def test_once_is_the_attack_itself(attack: Attack, model: nn.Module, images: Tensor, labels: Tensor) -> None:
    one = attack.run(model, images, labels, Linf(eps=0.1), seed=3)
    other = Restarts(attack=attack, times=1).run(model, images, labels, Linf(eps=0.1), seed=3)
    for name in vars(one):
        assert torch.equal(getattr(one, name), getattr(other, name)), name


def test_it_is_the_attacks_own_restarts(model: nn.Module, images: Tensor, labels: Tensor) -> None:
    one = PGD(steps=2, restarts=6).run(model, images, labels, Linf(eps=0.05))
    other = Restarts(attack=PGD(steps=2, restarts=2), times=3).run(model, images, labels, Linf(eps=0.05))
    assert torch.equal(one.images, other.images)
    assert torch.equal(one.restarts, other.restarts)


def test_later_runs_look_only_at_what_withstood(model: nn.Module, images: Tensor, labels: Tensor) -> None:
    single = PGD(steps=1, rel_step_size=0.3)
    once = single.run(model, images, labels, Linf(eps=0.06))
    often = Restarts(attack=single, times=12).run(model, images, labels, Linf(eps=0.06))
    assert not (once.successes & ~often.successes).any()
    assert once.successes.sum() < often.successes.sum()
    assert torch.equal(once.images[once.successes], often.images[once.successes])
    found = often.restarts[often.successes & ~once.successes]
    assert found.min() >= 1
    assert found.max() <= 11
    withstood = ~often.successes
    assert (often.backwards[withstood] == 12).all()


def test_what_the_attack_is_not_made_for_is_refused(model: nn.Module, images: Tensor, labels: Tensor) -> None:
    with pytest.raises(RobustlabError, match=r"apgd supports .*, not l0"):
        Restarts(attack=APGD()).run(model, images, labels, L0(eps=3))
    with pytest.raises(RobustlabError, match="corruption can't move towards a target"):
        Restarts(attack=Corruption(effect="fog")).run(model, images, labels, Unbounded(), targets=labels)
    assert Restarts(attack=FGSM(), times=2).run(model, images, labels, L1(eps=1.0)).successes.any()


def test_attacks_that_look_for_the_nearest_success_keep_the_nearest(
    make_linear: Callable[..., nn.Module], images: Tensor
) -> None:
    model: Any = make_linear(classes=3)
    with torch.no_grad():
        labels = model(images).argmax(dim=1)
    single = HopSkipJump(steps=1, samples=20)
    once = single.run(model, images, labels, L2(eps=4.0), early_stop=False)
    often = Restarts(attack=single, times=4).run(model, images, labels, L2(eps=4.0), early_stop=False)
    assert (often.distances <= once.distances).all()
    assert often.distances.mean() < once.distances.mean()
    assert often.successes.all()
    assert set(often.restarts.tolist()) == {0, 1, 2, 3}
