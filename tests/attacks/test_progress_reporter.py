"""What an attack tells while it works: shares of the search, and images broken."""

import time
from collections.abc import Callable
from typing import Any

import pytest
import torch
from attack_cases import ATTACKS, every_attack, one_for, run, with_mistakes
from small_networks import mlp
from torch import nn

from robustlab.attacks import PGD, Attack, IfShattered, MarginSearch, Restarts, Square, progress_reporter
from robustlab.threats import Linf

APART = 8
"""Passes before and after the search: a first look, the clean images' logits, the last measurement."""


@pytest.fixture
def model() -> nn.Module:
    return mlp()


@pytest.fixture
def batch(model: nn.Module, make_batch: Callable[..., Any]) -> Any:
    return with_mistakes(make_batch(40), model)


@pytest.fixture
def often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress_reporter, "_OFTEN", 0.0)


@every_attack
def test_passes_is_what_an_image_costs_at_most(attack: Attack, model: nn.Module, batch: Any) -> None:
    each = attack.inner.estimator.passes
    if attack.passes is None or each is None:
        return
    result = run(attack, model, batch, one_for(attack), early_stop=False)
    most = attack.restart_count * attack.passes * each
    assert result.forwards.max() <= most + APART + attack.restart_count
    if not isinstance(attack.inner, MarginSearch):  # which gives images up
        assert result.forwards.max() >= most / 3


def test_nearly_every_attack_knows_its_passes() -> None:
    unknown = {attack.inner.name for attack in ATTACKS if attack.passes is None}
    assert unknown <= {"hop_skip_jump"}, "which draws more samples from step to step"


@pytest.mark.usefixtures("often")
@pytest.mark.parametrize(
    "attack",
    [
        PGD(steps=20),
        PGD(steps=5, restarts=3),
        Square(queries=40),
        Restarts(attack=Square(queries=20), times=2),
        MarginSearch(rounds=3, patches=5, steps=4),
        IfShattered(attack=PGD(steps=12), draws=2, agreement=1.0),
    ],
    ids=repr,
)
def test_shares_grow_to_the_whole(attack: Attack, model: nn.Module, batch: Any) -> None:
    shares: list[float] = []
    broken: list[int] = []

    def tell(share: float, count: int) -> None:
        shares.append(share)
        broken.append(count)

    threat = Linf(eps=0.01)
    plain = run(attack, model, batch, threat, early_stop=False)
    result = run(attack, model, batch, threat, early_stop=False, on_pass=tell)
    assert torch.equal(result.images, plain.images), "watching changes nothing"
    assert torch.equal(result.forwards, plain.forwards)
    assert shares == sorted(shares)
    assert 0 <= shares[0] < 0.5 < shares[-1] <= 1
    assert len(set(shares)) >= 8
    assert broken == sorted(broken)
    assert broken[-1] <= int(result.successes.sum())


@pytest.mark.usefixtures("often")
def test_a_random_classifiers_samples_are_no_progress(model: nn.Module, batch: Any) -> None:
    told: list[float] = []
    threat = Linf(eps=0.01)
    run(PGD(steps=10), model, batch, threat, eot_samples=4, on_pass=lambda share, _: told.append(share))
    assert 0.9 < max(told) <= 1
    assert sum(share < 0.5 for share in told) >= 4


def test_it_tells_no_more_than_a_few_times_a_second(model: nn.Module, batch: Any) -> None:
    told: list[float] = []
    began = time.monotonic()
    run(PGD(steps=300), model, batch, Linf(eps=0.01), on_pass=lambda share, _: told.append(share))
    assert len(told) <= (time.monotonic() - began) / 0.25 + 1
