"""PGD: starts, steps and restarts only ever add to what was found."""

from collections.abc import Callable
from itertools import pairwise
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from robustlab.attacks import FGSM, PGD
from robustlab.core import seeding
from robustlab.threats import L2, Linf, ThreatModel


class Bumpy(nn.Module):
    """Two classes divided by a wavy surface, so that a search is lucky or not."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("waves", 8 * seeding.normal(4, torch.arange(6), (16,)))

    def forward(self, x: Tensor) -> Tensor:
        waves: Tensor = self.get_buffer("waves")
        height = torch.sin(x.flatten(1) @ waves.T).sum(dim=1)
        return torch.stack([height + 1, -height - 1], dim=1)


@pytest.fixture
def task(make_batch: Callable[..., Any]) -> tuple[nn.Module, Tensor, Tensor, Tensor]:
    model = Bumpy().eval()
    batch = make_batch(300)
    with torch.no_grad():
        labels = model(batch.images).argmax(dim=1)
    return model, batch.images, labels, batch.ids


def broken(attack: PGD, threat: ThreatModel, task: tuple[nn.Module, Tensor, Tensor, Tensor]) -> Tensor:
    model, images, labels, ids = task
    return attack.run(model, images, labels, threat, ids=ids).predictions != labels


Task = tuple[nn.Module, Tensor, Tensor, Tensor]
THREATS = [Linf(eps=0.03), L2(eps=0.08)]


@pytest.mark.parametrize("threat", THREATS, ids=repr)
def test_more_restarts_break_more_images(threat: ThreatModel, task: Task) -> None:
    found = [broken(PGD(steps=2, rel_step_size=0.3, restarts=n), threat, task) for n in (1, 2, 4, 8)]
    for fewer, more in pairwise(found):
        assert not (fewer & ~more).any()
        assert fewer.sum() < more.sum()


@pytest.mark.parametrize("threat", THREATS, ids=repr)
def test_more_steps_break_more_images(threat: ThreatModel, task: Task) -> None:
    found = [broken(PGD(steps=n, rel_step_size=0.3), threat, task) for n in (1, 2, 4, 8)]
    for fewer, more in pairwise(found):
        assert not (fewer & ~more).any()
    assert found[0].sum() < found[-1].sum()


def test_more_restarts_find_a_higher_loss(task: Task) -> None:
    model, images, labels, ids = task

    def losses(restarts: int) -> Tensor:
        attack = PGD(steps=2, rel_step_size=0.3, restarts=restarts)
        result = attack.run(model, images, labels, Linf(eps=0.03), ids=ids, early_stop=False)
        with torch.no_grad():
            losses = F.cross_entropy(model(result.images), labels, reduction="none")
        # A success is kept even where its loss is lower than that of an image that is no success.
        return losses + 100 * (result.predictions != labels)

    assert (losses(3) >= losses(1) - 1e-5).all()
    assert (losses(3) > losses(1) + 1e-5).any()


def test_the_restart_that_broke_an_image_is_told(task: Task) -> None:
    model, images, labels, ids = task
    result = PGD(steps=2, rel_step_size=0.3, restarts=6).run(model, images, labels, Linf(eps=0.03), ids=ids)
    for n in range(1, 6):
        first_n = broken(PGD(steps=2, rel_step_size=0.3, restarts=n), Linf(eps=0.03), task)
        assert torch.equal(first_n, (result.restarts < n) & (result.predictions != labels))


def test_broken_images_leave_the_batch(task: Task) -> None:
    model, images, labels, ids = task
    sizes: list[int] = []
    hook = model.register_forward_pre_hook(lambda _, inputs: sizes.append(len(inputs[0])))
    attack = PGD(steps=4, rel_step_size=0.3, restarts=2)
    result = attack.run(model, images, labels, Linf(eps=0.03), ids=ids, batch_size=1000)
    hook.remove()
    middle = sizes[1:-1]  # between the first look and the last
    assert middle == sorted(middle, reverse=True)
    assert middle[-1] < middle[0] == 300
    assert sizes[-1] == 300
    assert int(result.forwards.sum()) == sum(sizes)


def test_batches_shrink_in_few_steps_at_a_small_price(task: Task) -> None:
    # A convolution library keeps a kernel for every size of batch: finished images fill up to few sizes.
    model, images, labels, ids = task
    sizes: set[int] = set()
    hook = model.register_forward_pre_hook(lambda _, inputs: sizes.add(len(inputs[0])))
    attack = PGD(steps=5, rel_step_size=0.1, restarts=10)
    together = attack.run(model, images, labels, Linf(eps=0.02), ids=ids, batch_size=300)
    hook.remove()
    alone = attack.run(model, images, labels, Linf(eps=0.02), ids=ids, batch_size=1)
    assert torch.equal(together.predictions, alone.predictions)
    assert torch.equal(together.restarts, alone.restarts)
    assert (together.forwards >= alone.forwards).all()
    assert alone.forwards.sum() < together.forwards.sum() < 1.3 * alone.forwards.sum()
    assert 4 <= len(sizes) <= 20


def test_when_all_are_broken_it_stops(
    make_linear: Callable[..., nn.Module], make_batch: Callable[..., Any]
) -> None:
    model, batch = make_linear(classes=2), make_batch(20)
    with torch.no_grad():
        labels = model(batch.images).argmax(dim=1)
    result = PGD(steps=1000, restarts=1000).run(model, batch.images, labels, Linf(eps=1.0))
    assert (result.predictions != labels).all()
    assert result.backwards.max() < 60


def test_one_step_across_the_ball_is_fgsm(
    make_batch: Callable[..., Any],
) -> None:
    # From anywhere in the ball, a step of 2 eps along a constant sign ends in FGSM's corner.
    layer = nn.Linear(784, 2)
    with torch.no_grad():
        layer.weight.copy_(torch.tensor([[1e-3], [-1e-3]]).expand(2, 784))
    model = nn.Sequential(nn.Flatten(), layer).eval()
    batch = make_batch(8, shape=(1, 28, 28), classes=2)
    threat = Linf(eps=0.2)
    one = PGD(steps=1, rel_step_size=2.0).run(model, batch.images, batch.labels, threat, early_stop=False)
    other = FGSM().run(model, batch.images, batch.labels, threat, early_stop=False)
    assert torch.allclose(one.images, other.images, atol=1e-6)


def test_the_start_is_random_and_inside(task: Task) -> None:
    # With steps of no length the returned image is the start.
    model, images, labels, ids = task
    threat = Linf(eps=0.1)
    result = PGD(steps=1, rel_step_size=1e-12).run(model, images, labels, threat, ids=ids, early_stop=False)
    moved = ((result.images - images) / 0.1).flatten()
    inside = moved[((images > 0.1) & (images < 0.9)).flatten()]
    assert abs(float(inside.mean())) < 0.05
    assert abs(float(inside.var()) - 1 / 3) < 0.02
