"""Gradients that are shattered: how they are told, and the wrapper that smooths them."""

from typing import Any

import pytest
import torch
from small_networks import Counting, mlp
from torch import Tensor, nn

from robustlab.attacks import FAB, FGSM, PGD, Attack, DeepFool, IfMasked, IfShattered, Session, Square
from robustlab.attacks.gradient_agreement import LOOKS, compared
from robustlab.core import seeding
from robustlab.threats import L2, Linf, ThreatModel

DRAWS = 8


class Wavering(nn.Module):
    """Adds a fast oscillation to the images in which the first value is above a half."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, images: Tensor) -> Tensor:
        waves = images + 0.05 * torch.sin(200 * torch.pi * images)
        logits: Tensor = self.model(torch.where(images[:, :1, :1, :1] > 0.5, waves, images))
        return logits


class Steps(Attack):
    """Takes two gradients and remembers them."""

    name = "steps"
    seen: list[Tensor] = []  # noqa: RUF012 (what the test reads)

    def search(self, session: Session) -> None:
        Steps.seen = [session.gradient(session.clean, "margin") for _ in range(2)]


@pytest.fixture
def model() -> nn.Module:
    return Wavering(mlp(hidden=40, classes=4, scale=4, seed=4, pixels=64)).eval()


@pytest.fixture
def images() -> Tensor:
    images = seeding.uniform(2, torch.arange(60), (1, 8, 8))
    images[:, 0, 0, 0] = torch.where(torch.arange(60) < 30, 0.0, 1.0)
    return images


@pytest.fixture
def labels(model: nn.Module, images: Tensor) -> Tensor:
    with torch.no_grad():
        predictions: Tensor = model(images).argmax(dim=1)
    return predictions


@pytest.mark.parametrize("count", [2, 3, 7])
def test_the_mean_cosine_is_that_of_all_pairs(count: int) -> None:
    gradients = seeding.normal(1, torch.arange(count), (5, 1, 3, 4)).double()
    units = torch.nn.functional.normalize(gradients.flatten(2), dim=2)
    pairs = [(units[a] * units[b]).sum(dim=1) for a in range(count) for b in range(a)]
    found = compared(iter(gradients))
    torch.testing.assert_close(found.cosine, torch.stack(pairs).mean(dim=0))
    assert not found.silent.any()


def test_a_gradient_that_is_zero_is_no_disagreement() -> None:
    gradients = torch.randn(3, 2, 1, 3, 4, generator=torch.Generator().manual_seed(0))
    gradients[1, 0] = 0
    found = compared(gradients)
    assert found.silent.tolist() == [True, False]
    assert not found.shattered[0]


def test_a_gradient_that_is_zero_has_a_cosine_of_zero_with_any() -> None:
    gradient = torch.rand(1, 1, 3, 4, generator=torch.Generator().manual_seed(0)) + 0.1
    found = compared([gradient] * 4 + [0 * gradient] * 2)
    torch.testing.assert_close(found.cosine, torch.tensor([4 * 3 / (6 * 5)]))
    torch.testing.assert_close(compared([0 * gradient] * 6).cosine, torch.zeros(1))


@pytest.mark.parametrize("factor", [1e-30, 1.0, 1e30])
def test_gradients_of_any_size_agree_with_themselves(factor: float) -> None:
    gradient = factor * torch.rand(2, 1, 3, 4, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(compared([gradient] * 4).cosine, torch.ones(2))


@pytest.mark.parametrize("threat", [Linf(eps=0.1), L2(eps=0.5)], ids=repr)
def test_it_attacks_where_gradients_are_shattered(
    threat: ThreatModel, model: nn.Module, images: Tensor, labels: Tensor
) -> None:
    result = IfShattered(attack=PGD(steps=5, rel_step_size=1e-6, start="clean"), draws=DRAWS).run(
        model, images, labels, threat
    )
    spent = (result.backwards, result.forwards)
    assert not result.successes.any()
    assert (spent[0][30:] == LOOKS + 5 * DRAWS).all()
    # The clean image, the looks, five points with the others nearby, the last point, what is returned.
    assert (spent[1][30:] == 1 + LOOKS + 5 * (DRAWS + 1) + 1 + 1).all()
    assert (spent[0][:30] == LOOKS).float().mean() > 0.9
    assert (spent[1][:30] == 1 + LOOKS + 1).float().mean() > 0.9


def test_it_breaks_what_plain_gradients_do_not(model: nn.Module, images: Tensor) -> None:
    threat, pgd = Linf(eps=0.06), PGD(steps=20, loss="margin")
    images[:, 0, 0, 0] = 1.0
    with torch.no_grad():
        labels = model(images).argmax(dim=1)
    plain, smooth = (
        attack.run(model, images, labels, threat).successes for attack in (pgd, IfShattered(attack=pgd))
    )
    assert smooth.sum() >= 2 * plain.sum() > 0, (int(smooth.sum()), int(plain.sum()))


def test_a_smoothed_gradient_is_the_mean_of_those_nearby(images: Tensor) -> None:
    class Linear(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return torch.stack([x.square().flatten(1).sum(dim=1), 0 * x.flatten(1).sum(dim=1)], dim=1)

    inner, labels = images.clamp(0.1, 0.9), torch.zeros(60, dtype=torch.int64)
    IfShattered(attack=Steps(), draws=200, std=0.02, agreement=1.0).run(
        Linear().eval(), inner, labels, Linf(eps=0.0), early_stop=False
    )
    first, second = Steps.seen
    # Of the margin 0 - |x|^2 the gradient is -2 x, and its mean is that at the mean of the points.
    deviation = (first + 2 * inner).std()
    assert not torch.equal(first, second)
    assert deviation == pytest.approx(2 * 0.02 / 200**0.5, rel=0.1)


def test_without_noise_it_is_the_attack_itself(model: nn.Module, images: Tensor, labels: Tensor) -> None:
    plain = PGD(steps=4).run(model, images, labels, Linf(eps=0.1))
    same = IfShattered(attack=PGD(steps=4), draws=1, std=0.0, agreement=1.0).run(
        model, images, labels, Linf(eps=0.1)
    )
    assert torch.equal(plain.images, same.images)


@pytest.mark.parametrize("attack", [DeepFool(steps=3), FAB(steps=3), FAB(steps=3, targets=0)], ids=repr)
def test_gradients_of_several_logits_are_smoothed(
    attack: Attack, model: nn.Module, images: Tensor, labels: Tensor
) -> None:
    threat = L2(eps=0.5)
    plain = attack.run(model, images, labels, threat)
    same = IfShattered(attack=attack, draws=1, std=0.0, agreement=1.0).run(model, images, labels, threat)
    smooth = IfShattered(attack=attack, draws=2, agreement=1.0).run(model, images, labels, threat)
    assert torch.equal(plain.images, same.images)
    assert torch.equal(plain.backwards, same.backwards)
    assert not torch.equal(plain.images, smooth.images)
    assert (smooth.backwards % 2 == 0).all()


@pytest.mark.parametrize("start", ["random", "odi"])
def test_few_images_are_asked_about_together(start: Any, model: nn.Module, images: Tensor) -> None:
    images[30:50, 0, 0, 0] = 0.0
    with torch.no_grad():
        labels = model(images).argmax(dim=1)
    attack = IfShattered(attack=PGD(steps=4, start=start), draws=DRAWS)
    counting = Counting(model)
    whole = attack.run(counting.eval(), images, labels, Linf(eps=0.02), early_stop=False)
    assert counting.forwards == whole.forwards.sum()
    assert counting.backwards == whole.backwards.sum()
    assert max(counting.sizes) == 60
    few = attack.run(model, images, labels, Linf(eps=0.02), early_stop=False, batch_size=1)
    # The others may fill up a batch here and there.
    assert torch.equal(few.forwards[50:], whole.forwards[50:])
    torch.testing.assert_close(few.images, whole.images)
    assert len(counting.sizes) < 0.7 * int(whole.forwards.max())


def test_gradients_are_smoothed_no_longer_than_the_attack_runs(
    model: nn.Module, images: Tensor, labels: Tensor
) -> None:
    smoothed = IfShattered(attack=FGSM(), agreement=1.0)
    before = FGSM().run(model, images, labels, Linf(eps=0.05))
    smoothed.run(model, images, labels, Linf(eps=0.05))
    after = FGSM().run(model, images, labels, Linf(eps=0.05))
    assert torch.equal(before.images, after.images)


def test_a_factor_on_the_logits_changes_nothing(model: nn.Module, images: Tensor, labels: Tensor) -> None:
    class Scaled(nn.Module):
        def forward(self, x: Tensor) -> Any:
            return 1024 * model(x)

    attack = IfShattered(attack=PGD(steps=4, loss="margin"), draws=3)
    one = attack.run(model, images, labels, Linf(eps=0.05))
    other = attack.run(Scaled().eval(), images, labels, Linf(eps=0.05))
    assert torch.equal(one.images, other.images)
    assert torch.equal(one.forwards, other.forwards)


def test_square_is_run_there_too(model: nn.Module, images: Tensor, labels: Tensor) -> None:
    attack = IfMasked(attack=Square(queries=50))
    result = attack.run(model, images, labels, Linf(eps=0.01), early_stop=False)
    assert (result.forwards[30:] > 50).all()
    assert (result.forwards[:30] < 50).float().mean() > 0.8
