"""Minus infinity is a valid logit: it excludes a class, and no attack finds less because of that."""

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from attack_cases import every_pair, run, with_mistakes
from small_networks import mlp
from torch import Tensor, nn

from robustlab.attacks import APGD, FAB, MIFGSM, PGD, Attack
from robustlab.attacks.losses import Loss, measure
from robustlab.core.logits import answered, finite
from robustlab.evaluation.classify import responses
from robustlab.threats import Linf, ThreatModel

INF = math.inf


class Masked(nn.Module):
    """Excludes classes: two more than the network has, so that as many as before can be reached."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.inner(x)
        return torch.cat([logits, torch.full_like(logits[:, :2], -INF)], dim=1)


class LogSoftmax(Masked):
    """The log of probabilities, of which most underflow."""

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.inner(x)
        return (200 * logits).softmax(dim=1).log()


@pytest.fixture(scope="module")
def model() -> nn.Module:
    return mlp()


@pytest.fixture
def batch(model: nn.Module, make_batch: Callable[..., Any]) -> Any:
    return with_mistakes(make_batch(40), model)


@every_pair
def test_an_excluded_class_costs_no_success(
    attack: Attack, threat: ThreatModel, model: nn.Module, batch: Any
) -> None:
    plain = run(attack, model, batch, threat)
    masked = run(attack, Masked(model).eval(), batch, threat)
    assert masked.images.isfinite().all()
    assert (masked.predictions >= 0).all()
    assert (masked.predictions < 3).all(), "an excluded class was predicted"
    # Where it takes the classes one after the other, more of them may mean another order: no fewer successes.
    assert masked.successes.sum() >= plain.successes.sum()


@every_pair
def test_no_attack_stumbles_over_probabilities_that_underflow(
    attack: Attack, threat: ThreatModel, model: nn.Module, batch: Any
) -> None:
    steep = LogSoftmax(model).eval()
    assert steep(batch.images).isinf().any(), "the test tests nothing"
    result = run(attack, steep, batch, threat)
    assert result.images.isfinite().all()
    assert (result.predictions >= 0).all()


@pytest.mark.parametrize("defense", [Masked, LogSoftmax])
def test_clean_accuracy_is_that_of_the_plain_logits(
    defense: type[Masked], model: nn.Module, batch: Any
) -> None:
    expected = responses(model, batch.images)
    found = responses(defense(model).eval(), batch.images)
    assert torch.equal(found.classes, expected.classes)
    assert found.confidences.min() > 0


def test_an_excluded_target_is_never_reached_and_spoils_nothing(model: nn.Module, batch: Any) -> None:
    targets = torch.full_like(batch.labels, 4)
    for attack in (PGD(steps=3), APGD(steps=4, loss="dlr"), FAB(steps=3), MIFGSM(steps=2)):
        result = run(attack, Masked(model).eval(), batch, Linf(eps=0.3), targets=targets)
        assert not result.successes.any()
        assert result.images.isfinite().all()


def test_what_is_an_answer() -> None:
    rows = torch.tensor([[1.0, -INF, 2.0], [1, math.nan, 2], [1, INF, 2], [-INF] * 3, [-INF, -INF, -3e38]])
    assert answered(rows).tolist() == [True, False, False, False, True]
    logits, valid = finite(rows)
    assert logits.isfinite().all()
    assert torch.equal(logits[0, [0, 2]], rows[0, [0, 2]])
    assert logits[0, 1] < 0
    assert not logits[~valid].any()
    # Other logits are passed on to the last bit, and half precision as float32.
    plain = torch.randn(5, 4) * 1e30
    assert torch.equal(finite(plain)[0], plain)
    assert finite(plain.half())[0].dtype == torch.float32


@pytest.mark.parametrize("loss", ["cross_entropy", "margin", "dlr"])
@pytest.mark.parametrize("goal", ["untargeted", "targets", "rivals"])
def test_losses_and_their_gradients_are_those_of_the_other_classes(loss: Loss, goal: str) -> None:
    plain = torch.tensor([[3.0, 1.0, 2.0, 0.5, -1.0]], requires_grad=True)
    labels, wished = torch.tensor([0]), torch.tensor([2])
    more: dict[str, Any] = {} if goal == "untargeted" else {goal: wished}

    def slope(logits: Tensor) -> Tensor:
        value = measure(loss, finite(logits)[0], labels, **more)
        assert value.isfinite().all()
        (found,) = torch.autograd.grad(value.sum(), plain)
        return found

    masked = torch.cat([plain, torch.full((1, 3), -INF)], dim=1)
    assert torch.allclose(slope(masked), slope(plain))
    excluded = more | ({goal: torch.tensor([6])} if more else {})
    value = measure(loss, finite(masked)[0], labels, **excluded)
    assert value.isfinite().all()
    assert torch.autograd.grad(value.sum(), plain)[0].abs().sum() > 0, "there is nothing to follow"


def test_a_probability_that_underflows_leaves_the_others_their_gradient() -> None:
    scores = torch.tensor([[0.0, 0.1, -9.0]], requires_grad=True)
    logits = (20 * scores).softmax(dim=1).log()
    assert logits[0, 2] == -INF
    value = measure("margin", finite(logits)[0], torch.tensor([0]))
    (found,) = torch.autograd.grad(value.sum(), scores)
    assert torch.allclose(found, torch.tensor([[-20.0, 20.0, 0.0]]))
