"""Within a mask every attack searches among the values that may change, and among these alone."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from attack_cases import PAIRS, both_modes, with_mistakes
from small_networks import mlp
from torch import Tensor, nn

from robustlab.attacks import MIFGSM, PGD, Attack, AttackResult
from robustlab.attacks.gradients import SurrogateGradient
from robustlab.core.errors import RobustlabError
from robustlab.threats import Linf, Masked, ThreatModel

FIXED = (0, 5, 6, 11, 15)
BOUNDED = [(attack, threat) for attack, threat in PAIRS if threat.bounded]
every_pair = pytest.mark.parametrize(("attack", "threat"), BOUNDED, ids=[f"{a}-{t}" for a, t in BOUNDED])


class WithConstants(nn.Module):
    """Classifies the free values alone; the fixed ones are the same for each image."""

    def __init__(self, network: nn.Module, mask: Masked, constant: Tensor) -> None:
        super().__init__()
        self.network, self.mask, self.constant = network, mask, constant
        self.training = False

    def forward(self, values: Tensor) -> Tensor:
        logits: Tensor = self.network(
            self.mask.with_values(self.constant.expand(len(values), 1, 4, 4), values)
        )
        return logits


def same_results(one: AttackResult, other: AttackResult) -> bool:
    names = ("predictions", "confidences", "successes", "distances", "forwards", "backwards", "restarts")
    return all(torch.equal(getattr(one, name), getattr(other, name)) for name in names)


@both_modes
@every_pair
def test_it_is_the_attack_on_the_free_values(
    attack: Attack, threat: ThreatModel, early_stop: bool, make_batch: Callable[..., Any]
) -> None:
    model, mask = mlp(), Masked(threat=threat, fixed=FIXED)
    batch = with_mistakes(make_batch(20), model)
    images = mask.with_values(batch.images[:1].expand_as(batch.images), mask.free_values(batch.images))
    with torch.no_grad():
        labels = model(images).argmax(dim=1)
    others = {"ids": batch.ids, "early_stop": early_stop}
    found = attack.run(model, images, labels, mask, **others)
    reduced = WithConstants(model, mask, images[:1])
    expected = attack.run(reduced, mask.free_values(images), labels, mask.inner, **others)
    assert same_results(found, expected)
    assert torch.equal(mask.free_values(found.images), expected.images)
    changed = (found.images != images).flatten(1)
    assert not changed[:, list(FIXED)].any()
    assert torch.equal(mask.distance(found.images, images), found.distances)


def test_each_image_keeps_its_own_values(make_batch: Callable[..., Any]) -> None:
    batch, mask = make_batch(20), Masked(threat=Linf(eps=0.3), fixed=FIXED)
    found = PGD(steps=5, rel_step_size=0.5).run(mlp(), batch.images, batch.labels, mask, early_stop=False)
    changed = (found.images != batch.images).flatten(1)
    assert not changed[:, list(FIXED)].any()
    assert changed.any(dim=1).all()


class Watching(nn.Module):
    """Notes the shapes of what it is asked about."""

    def __init__(self) -> None:
        super().__init__()
        self.training, self.shapes = False, set[tuple[int, ...]]()

    def forward(self, images: Tensor) -> Tensor:
        self.shapes.add(tuple(images.shape[1:]))
        return images.flatten(1)[:, :3]


def test_classifiers_see_whole_images(make_batch: Callable[..., Any]) -> None:
    batch, mask = make_batch(4), Masked(threat=Linf(eps=0.3), fixed=FIXED)
    model, surrogate = Watching(), Watching()
    attack = MIFGSM(steps=2, gradient=SurrogateGradient())
    attack.run(model, batch.images, batch.labels, mask, surrogates=[surrogate], early_stop=False)
    assert model.shapes == surrogate.shapes == {(1, 4, 4)}


@pytest.mark.parametrize(
    ("fixed", "reason"), [((3, 16), "place 16, but an image has 16"), (tuple(range(16)), "all 16 values")]
)
def test_places_outside_the_image(
    fixed: tuple[int, ...], reason: str, make_batch: Callable[..., Any]
) -> None:
    batch, mask = make_batch(4), Masked(threat=Linf(eps=0.3), fixed=fixed)
    with pytest.raises(RobustlabError, match=reason):
        PGD().run(mlp(), batch.images, batch.labels, mask)
