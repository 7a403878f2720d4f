"""What the session does for searches in rounds, and for the nearest success."""

from collections.abc import Callable
from dataclasses import dataclass

import pytest
import torch
from torch import Tensor, nn

from robustlab.attacks import Attack, AttackResult, Session
from robustlab.threats import Linf


class Bright(nn.Module):
    """Says class 1 from a mean brightness of 0.6 on; in bf16 from 0.5 on."""

    def forward(self, x: Tensor) -> Tensor:
        level = 0.5 if torch.is_autocast_enabled(x.device.type) else 0.6
        bright = x.flatten(1).mean(dim=1) > level
        return torch.stack([~bright, bright], dim=1).float()


@dataclass(frozen=True, kw_only=True, repr=False)
class Scripted(Attack):
    """Does what a function tells it to."""

    name = "scripted"
    minimum_norm = True
    act: Callable[[Session], None]

    def search(self, session: Session) -> None:
        self.act(session)


class Rounded(Scripted):
    """Looks for any success."""

    minimum_norm = False


class Exact(Rounded):
    """Goes by differences that bf16 would hide."""

    exact = True


def run(
    act: Callable[[Session], None], *, bf16: bool = False, eps: float = 1.0, kind: type[Scripted] = Scripted
) -> AttackResult:
    images = torch.tensor([0.1, 0.2, 0.3, 0.4]).view(4, 1, 1, 1).expand(4, 1, 2, 2).clone()
    labels = torch.zeros(4, dtype=torch.int64)
    threat = Linf(eps=eps)
    return kind(act=act).run(
        Bright().eval(), images, labels, threat, early_stop=False, bf16=bf16, batch_size=4
    )


def grey(session: Session, level: float) -> Tensor:
    return torch.full_like(session.clean, level)


@dataclass
class Rows:
    place: Tensor
    note: str = "left alone"


def test_what_is_done_leaves_and_comes_back_after_the_round() -> None:
    seen: list[list[int]] = []

    def act(session: Session) -> None:
        rows = Rows(torch.arange(4))
        for _ in range(2):
            with session.round():
                inner = Rows(torch.arange(4))
                inner = session.unfinished(inner, done=torch.tensor([True, False, True, False]))
                assert torch.equal(session.clean[:, 0, 0, 0], torch.tensor([0.2, 0.4]))
                seen.append(inner.place.tolist())
                session.query(grey(session, 0.7))
                session.unfinished(done=torch.tensor([True, True]))
                assert session.finished
            seen.append(rows.place.tolist())
            assert len(session.clean) == 4

    result = run(act)
    assert seen == 2 * [[1, 3], [0, 1, 2, 3]]
    assert result.successes.tolist() == [False, True, False, True]
    assert result.forwards.tolist() == [2, 4, 2, 4]  # all are looked at in the beginning and in the end


def test_without_a_round_what_is_done_is_done() -> None:
    def act(session: Session) -> None:
        session.unfinished(done=torch.arange(4) == 2)
        session.query(grey(session, 0.7))

    assert run(act).successes.tolist() == [True, True, False, True]


def test_nothing_is_recorded_for_images_that_fill_up_the_batch() -> None:
    def act(session: Session) -> None:
        # Eighteen is no size of batch, so one of the two that are done stays.
        session.unfinished(done=torch.arange(20) < 2)
        assert len(session.clean) == 19
        assert session.closed.sum() == 1
        assert session.query(grey(session, 0.7)).reached.all()

    images = torch.full((20, 1, 2, 2), 0.3)
    labels = torch.zeros(20, dtype=torch.int64)
    result = Scripted(act=act).run(Bright().eval(), images, labels, Linf(eps=1.0), early_stop=False)
    assert result.successes.tolist() == 2 * [False] + 18 * [True]


def test_the_nearest_success_is_kept_in_any_order() -> None:
    for levels in ([0.9, 0.65, 0.8], [0.65, 0.9], [0.3, 0.8, 0.65, 0.61, 0.59]):

        def act(session: Session, levels: list[float] = levels) -> None:
            for level in levels:
                session.query(grey(session, level))

        nearest = min(level for level in levels if level > 0.6)
        assert torch.allclose(run(act).images, torch.tensor(nearest))


def test_a_success_beyond_eps_does_not_count_but_is_told() -> None:
    told: list[bool] = []

    def act(session: Session) -> None:
        told.extend(session.query(grey(session, 0.65)).reached.tolist())

    result = run(act, eps=0.3)
    assert told == 4 * [True]
    assert result.successes.tolist() == [False, False, False, True]
    assert torch.allclose(result.distances, torch.tensor([0.0, 0.0, 0.0, 0.25]))


def test_the_nearest_success_is_looked_for_in_fp32() -> None:
    def act(session: Session) -> None:
        for level in (0.7, 0.55, 0.65, 0.52):
            reading = session.query(grey(session, level))
            assert bool((reading.logits[:, 1] > 0).all()) == (level > 0.6), "the classifier ran in bf16"

    result = run(act, bf16=True)
    assert torch.allclose(result.images, torch.tensor(0.65))
    assert result.successes.all()


@pytest.mark.parametrize("exact", [False, True])
def test_a_success_in_bf16_counts_if_it_is_one_in_fp32(exact: bool) -> None:
    said: list[tuple[bool, bool]] = []

    def act(session: Session) -> None:
        for level in (0.55, 0.65):
            reading = session.query(grey(session, level))
            said.append((bool((reading.logits[:, 1] > 0).all()), bool(reading.reached.all())))

    result = run(act, bf16=True, kind=Exact if exact else Rounded)
    assert said == [(not exact, False), (True, True)]
    assert result.successes.all()


def test_an_image_is_set_aside_only_if_fp32_too_gets_it_wrong() -> None:
    images = torch.full((2, 1, 2, 2), 0.55)

    def act(session: Session) -> None:
        session.query(grey(session, 0.65))

    attack = Rounded(act=act)
    result = attack.run(Bright().eval(), images, torch.zeros(2, dtype=torch.int64), Linf(eps=1.0), bf16=True)
    assert result.successes.all()
    assert (result.forwards > 2).all()
