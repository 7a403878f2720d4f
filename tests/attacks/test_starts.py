"""Starts lie where they say, differ from restart to restart, and depend on the image's id alone."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, get_args

import pytest
import torch
from torch import Tensor

from robustlab.attacks import PGD, Attack, Session
from robustlab.attacks.initialization import Start, begin
from robustlab.threats import L2, Linf, ThreatModel

Make = Callable[..., Any]
Starts = Callable[..., tuple[Tensor, list[Tensor]]]
SHAPE = (2, 6, 5)
RANDOM = [kind for kind in get_args(Start) if kind != "clean"]


@dataclass(frozen=True, kw_only=True, repr=False)
class Recorder(Attack):
    """Keeps the starts that it is given."""

    name = "recorder"
    start: Start
    seen: list[Tensor] = field(default_factory=list)

    @property
    def restart_count(self) -> int:
        return 2

    def search(self, session: Session) -> None:
        self.seen.append(begin(self.start, session))


@pytest.fixture
def starts(make_linear: Make, make_batch: Make) -> Starts:
    """Clean images, and two restarts' starts for them."""

    def begun(kind: Start, threat: ThreatModel, order: Tensor | None = None) -> tuple[Tensor, list[Tensor]]:
        batch = make_batch(12, shape=SHAPE)
        rows = torch.arange(12) if order is None else order
        recorder = Recorder(start=kind)
        model = make_linear(shape=SHAPE, scale=0.01)
        labels = model(batch.images).argmax(dim=1)[rows]
        recorder.run(model, batch.images[rows], labels, threat, ids=batch.ids[rows], early_stop=False)
        return batch.images[rows], recorder.seen

    return begun


@pytest.mark.parametrize("threat", [Linf(eps=0.2), L2(eps=0.5)], ids=repr)
@pytest.mark.parametrize("kind", RANDOM)
def test_starts_are_allowed_differ_and_go_by_the_id(kind: Start, threat: ThreatModel, starts: Starts) -> None:
    clean, (first, second) = starts(kind, threat)
    for points in (first, second):
        assert points.min() >= 0
        assert points.max() <= 1
        assert (threat.distance(points, clean) <= threat.eps + 1e-5).all()
    assert (threat.distance(first, second) > 0).all()
    order = torch.arange(11, -1, -1)
    _, (other, _) = starts(kind, threat, order=order)
    assert torch.allclose(other, first[order], atol=1e-5)


def test_the_clean_start_is_the_image(starts: Starts) -> None:
    clean, (first, second) = starts("clean", Linf(eps=0.2))
    assert torch.equal(first, clean)
    assert torch.equal(second, clean)


@pytest.mark.parametrize("kind", ["corner", "pattern"])
def test_every_pixel_of_a_corner_is_at_an_end(kind: Start, starts: Starts) -> None:
    clean, (first, _) = starts(kind, Linf(eps=0.2))
    low, high = (clean - 0.2).clamp(min=0), (clean + 0.2).clamp(max=1)
    assert torch.minimum((first - low).abs(), (first - high).abs()).max() < 1e-6


def test_a_pattern_moves_blocks_as_one(starts: Starts) -> None:
    clean, (twos, threes) = starts("pattern", Linf(eps=0.2))
    for points, side in ((twos, 2), (threes, 3)):
        up = (points > clean).float()
        blocks = up[:, :, : SHAPE[1] // side * side, : SHAPE[2] // side * side]
        means = torch.nn.functional.avg_pool2d(blocks, side)
        assert ((means == 0) | (means == 1)).all()
        assert 0.2 < means.mean() < 0.8


def test_surface_points_reach_eps(make_linear: Make, make_batch: Make) -> None:
    batch = make_batch(12, shape=SHAPE)
    grey = torch.full_like(batch.images, 0.5)
    recorder = Recorder(start="surface")
    recorder.run(make_linear(shape=SHAPE), grey, batch.labels, L2(eps=0.3), early_stop=False)
    distances = L2(eps=0.3).distance(recorder.seen[0], grey)
    assert torch.allclose(distances, torch.full((12,), 0.3), atol=1e-5)


def test_an_output_diversified_start_moves_the_logits_farther_than_a_random_one(
    starts: Starts, make_linear: Make
) -> None:
    model = make_linear(shape=SHAPE)
    moved = {}
    for kind in ("random", "odi"):
        clean, (first, _) = starts(kind, Linf(eps=0.05))
        with torch.no_grad():
            moved[kind] = (model(first) - model(clean)).norm(dim=1).mean()
    assert moved["odi"] > 1.5 * moved["random"]


@pytest.mark.parametrize("kind", get_args(Start))
def test_pgd_takes_any_start(kind: Start, make_linear: Make, make_batch: Make) -> None:
    batch, model = make_batch(8), make_linear()
    labels = model(batch.images).argmax(dim=1)
    result = PGD(steps=3, start=kind).run(model, batch.images, labels, Linf(eps=0.5))
    assert result.successes.any()
