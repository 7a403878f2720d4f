"""Many points per image in one call are as many single queries, in fewer and fuller passes."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from small_networks import Counting
from torch import nn

from robustlab.attacks import FMN, Attack, QueryResult, Session
from robustlab.core import seeding
from robustlab.threats import L2, Linf, ThreatModel

K, N = 7, 40


@dataclass(frozen=True, kw_only=True, repr=False)
class Asking(Attack):
    """Asks about K random points per image, at once or one by one."""

    name = "asking"
    at_once: bool
    nearest: bool
    readings: list[QueryResult]

    @property
    def inner(self) -> Attack:
        return FMN() if self.nearest else self

    @property
    def restart_count(self) -> int:
        return 2

    def search(self, session: Session) -> None:
        draws = session.uniform("points", shape=(K, *session.clean.shape[1:])).transpose(0, 1)
        points = torch.stack([session.project(draw) for draw in draws])
        if self.at_once:
            self.readings.append(session.query_many(points, "margin"))
            return
        readings = [session.query(p, "margin") for p in points]
        self.readings.append(
            QueryResult(
                logits=torch.stack([r.logits for r in readings]),
                valid=torch.stack([r.valid for r in readings]),
                losses=torch.stack([r.losses for r in readings]),
                reached=torch.stack([r.reached for r in readings]),
            )
        )


@pytest.mark.parametrize("options", [{}, {"eot_samples": 3}, {"bf16": True}], ids=str)
@pytest.mark.parametrize("threat", [Linf(eps=0.17), L2(eps=0.6)], ids=repr)
@pytest.mark.parametrize("nearest", [False, True])
@pytest.mark.parametrize("early_stop", [True, False])
def test_at_once_is_one_by_one(
    early_stop: bool,
    nearest: bool,
    threat: ThreatModel,
    options: dict[str, Any],
    make_linear: Callable[..., nn.Module],
) -> None:
    images = seeding.uniform(3, torch.arange(N), (1, 4, 4))
    results, readings, models = [], [], []
    for at_once in (False, True):
        model = Counting(make_linear(scale=0.5)).eval()
        with torch.no_grad():
            labels = model(images).argmax(dim=1)
        model.sizes.clear()
        attack = Asking(at_once=at_once, nearest=nearest, readings=[])
        results.append(attack.run(model, images, labels, threat, early_stop=early_stop, **options))
        readings.append(attack.readings)
        models.append(model)
    one, other = results
    assert 0 < one.successes.sum() < N
    for name in vars(one):
        assert torch.allclose(getattr(one, name).float(), getattr(other, name).float(), atol=1e-6), name
    for a, b in zip(*readings, strict=True):
        assert torch.allclose(a.logits, b.logits, atol=0.05 if options.get("bf16") else 1e-5)
        assert a.losses.shape == b.losses.shape
        assert torch.equal(a.reached, b.reached) or options.get("bf16")
    assert models[0].forwards == models[1].forwards == int(other.forwards.sum())
    assert max(models[1].sizes) <= N
    left = readings[1][1].losses.shape[1]  # in the second restart
    if "bf16" not in options:
        passes = 1 + K + math.ceil(K / (N // left)) + 1 - (not early_stop and not nearest)
        assert len(models[1].sizes) == passes * options.get("eot_samples", 1)
    assert (left < N / 2) == (early_stop)
