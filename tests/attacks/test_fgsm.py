"""FGSM is one formula."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from robustlab.attacks import FGSM
from robustlab.core import seeding
from robustlab.threats import L2, Linf


def input_gradient(model: nn.Module, images: Tensor, labels: Tensor) -> Tensor:
    points = images.clone().requires_grad_()
    F.cross_entropy(model(points), labels, reduction="sum").backward()  # type: ignore[no-untyped-call]
    assert points.grad is not None
    return points.grad


@pytest.fixture
def batch(make_batch: Callable[..., Any]) -> Any:
    return make_batch(16, shape=(1, 28, 28), classes=10)


@pytest.mark.parametrize("eps", [0.0, 8 / 255, 0.25, 1.0])
def test_it_is_the_papers_formula(small_cnn: nn.Module, batch: Any, eps: float) -> None:
    result = FGSM().run(small_cnn, batch.images, batch.labels, Linf(eps=eps), early_stop=False)
    gradient = input_gradient(small_cnn, batch.images, batch.labels)
    expected = (batch.images + eps * gradient.sign()).clamp(0, 1)
    assert torch.allclose(result.images, expected, atol=1e-6)


@pytest.mark.parametrize("step", [None, 0.4])
def test_from_a_random_start_it_steps_once_and_is_projected_back(
    small_cnn: nn.Module, batch: Any, step: float | None
) -> None:
    threat = Linf(eps=0.25)
    attack = FGSM(random_start=True, rel_step_size=step)
    result = attack.run(
        small_cnn, batch.images, batch.labels, threat, ids=batch.ids, seed=3, early_stop=False
    )
    key = seeding.derive(seeding.derive(3, "fgsm"), "start", 0)
    start = threat.random_start(batch.images, key, batch.ids, torch.full((16,), 0.25))
    moved = start + (step or 1.25) * 0.25 * input_gradient(small_cnn, start, batch.labels).sign()
    expected = batch.images + (moved - batch.images).clamp(-0.25, 0.25)
    assert (start != batch.images).float().mean() > 0.9
    assert torch.allclose(result.images, expected.clamp(0, 1), atol=1e-6)


def test_in_l2_it_steps_along_the_gradient(small_cnn: nn.Module, batch: Any) -> None:
    images = 0.3 + 0.4 * batch.images  # away from the walls of the box
    result = FGSM().run(small_cnn, images, batch.labels, L2(eps=0.5), early_stop=False)
    gradient = input_gradient(small_cnn, images, batch.labels)
    length = gradient.flatten(1).norm(dim=1)[:, None, None, None]
    assert torch.allclose(result.images, images + 0.5 * gradient / length, atol=1e-5)
    assert torch.allclose(result.distances, torch.tensor(0.5), atol=1e-5)


def test_the_loss_rises(small_cnn: nn.Module, batch: Any) -> None:
    def losses(images: Tensor) -> Tensor:
        with torch.no_grad():
            return F.cross_entropy(small_cnn(images), batch.labels, reduction="none")

    result = FGSM().run(small_cnn, batch.images, batch.labels, Linf(eps=0.01), early_stop=False)
    assert (losses(result.images) > losses(batch.images)).all()


def test_a_gradient_of_zero_moves_nothing(batch: Any) -> None:
    class Constant(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return 0 * x.flatten(1)[:, :10]

    result = FGSM().run(Constant().eval(), batch.images, batch.labels, Linf(eps=0.3), early_stop=False)
    assert torch.equal(result.images, batch.images)
