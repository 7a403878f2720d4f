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
    """Asks about K random points per image: one by one, at once, or of K copies of each image."""

    name = "asking"
    way: str
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
        if self.way == "at once":
            self.readings.append(session.query_many(points, "margin"))
        elif self.way == "copies":
            with session.repeated(K):
                result = session.query(points.flatten(0, 1), "margin")
            self.readings.append(_stacked([_part(result, number) for number in range(K)]))
        else:
            self.readings.append(_stacked([session.query(each, "margin") for each in points]))


def _part(result: QueryResult, number: int) -> QueryResult:
    """Return the answers for one of the K copies of all images."""
    columns = (result.logits, result.valid, result.losses, result.reached)
    logits, valid, losses, reached = (column.chunk(K)[number] for column in columns)
    return QueryResult(logits=logits, valid=valid, losses=losses, reached=reached)


def _stacked(readings: list[QueryResult]) -> QueryResult:
    return QueryResult(
        logits=torch.stack([reading.logits for reading in readings]),
        valid=torch.stack([reading.valid for reading in readings]),
        losses=torch.stack([reading.losses for reading in readings]),
        reached=torch.stack([reading.reached for reading in readings]),
    )


@pytest.mark.parametrize("options", [{}, {"eot_samples": 3}, {"bf16": True}], ids=str)
@pytest.mark.parametrize("threat", [Linf(eps=0.17), L2(eps=0.6)], ids=repr)
@pytest.mark.parametrize("nearest", [False, True])
@pytest.mark.parametrize("early_stop", [True, False])
@pytest.mark.parametrize("way", ["at once", "copies"])
def test_at_once_is_one_by_one(
    way: str,
    early_stop: bool,
    nearest: bool,
    threat: ThreatModel,
    options: dict[str, Any],
    make_linear: Callable[..., nn.Module],
) -> None:
    images = seeding.uniform(3, torch.arange(N), (1, 4, 4))
    results, readings, models = [], [], []
    for each in ("one by one", way):
        model = Counting(make_linear(scale=0.5)).eval()
        with torch.no_grad():
            labels = model(images).argmax(dim=1)
        model.sizes.clear()
        attack = Asking(way=each, nearest=nearest, readings=[])
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
    if way == "copies":
        return
    assert max(models[1].sizes) <= N
    left = readings[1][1].losses.shape[1]  # in the second restart
    if "bf16" not in options:
        passes = 1 + K + math.ceil(K / (N // left)) + 1 - (not early_stop and not nearest)
        assert len(models[1].sizes) == passes * options.get("eot_samples", 1)
    assert (left < N / 2) == (early_stop)
