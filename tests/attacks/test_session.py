"""The session keeps the best point, whatever order an attack proposes its points in."""

from dataclasses import dataclass, field
from itertools import permutations

import pytest
import torch
from torch import Tensor, nn

from robustlab.attacks import Attack, AttackResult, Session
from robustlab.core.errors import RobustlabError
from robustlab.threats import L2, Linf, ThreatModel

WIDE = Linf(eps=1.0)


@dataclass(frozen=True, kw_only=True, repr=False)
class Scripted(Attack):
    """Proposes grey images of given levels, one restart each."""

    name = "scripted"
    levels: tuple[float, ...]
    looks: list[int] = field(default_factory=list)

    @property
    def restart_count(self) -> int:
        return len(self.levels)

    def search(self, session: Session) -> None:
        restart = len(self.looks)
        self.looks.append(len(session.ids))
        session.propose(torch.full_like(session.clean, self.levels[restart]))


class Threshold(nn.Module):
    """Says class 1 from a mean brightness of 0.6 on; surer of class 0 the darker the image."""

    def forward(self, x: Tensor) -> Tensor:
        level = x.flatten(1).mean(dim=1)
        bright = (level > 0.6).float()
        return torch.stack([5 * (0.6 - level), bright * 10 * (0.9 - level).abs()], dim=1) - 0 * x.sum()


def run(levels: tuple[float, ...], threat: ThreatModel = WIDE, early_stop: bool = True) -> AttackResult:
    images = torch.full((2, 1, 2, 2), 0.4)
    return Scripted(levels=levels).run(
        Threshold().eval(), images, torch.zeros(2, dtype=torch.int64), threat, early_stop=early_stop
    )


def test_the_highest_loss_is_kept_in_any_order() -> None:
    for levels in permutations([0.1, 0.3, 0.5, 0.2]):
        for early_stop in (True, False):
            result = run(levels, early_stop=early_stop)
            assert torch.allclose(result.images, torch.tensor(0.5))
            assert (result.restarts == levels.index(0.5)).all()
            assert (result.predictions == 0).all()


def test_a_success_beats_any_loss() -> None:
    # At 0.9 class 1 wins by little: 5 * (0.6 - 0.9) against 0. At 0.55 class 0 wins, at 0.65 class 1 by more.
    for levels in permutations([0.1, 0.55, 0.9]):
        result = run(levels, early_stop=False)
        assert torch.allclose(result.images, torch.tensor(0.9))
        assert (result.predictions == 1).all()
    for levels in permutations([0.55, 0.65, 0.9]):
        assert torch.allclose(run(levels, early_stop=False).images, torch.tensor(0.65))


def test_a_verdict_stops_at_the_first_success() -> None:
    result = run((0.1, 0.9, 0.65, 0.65))
    assert torch.allclose(result.images, torch.tensor(0.9))
    assert (result.restarts == 1).all()
    assert (result.forwards == 4).all()  # clean, two proposals, the verdict


def test_of_equals_the_first_is_kept() -> None:
    assert (run((0.5, 0.5), early_stop=False).restarts == 0).all()


@pytest.mark.parametrize("threat", [Linf(eps=0.1), L2(eps=0.2)], ids=repr)
def test_proposals_are_not_trusted(threat: ThreatModel) -> None:
    result = run((7.0,), threat)  # far beyond the ball and the box
    assert torch.allclose(result.images, torch.tensor(0.5))
    assert torch.allclose(result.distances, torch.tensor(threat.eps))
    assert (result.predictions == 0).all()


def test_a_proposal_that_is_no_image_is_an_error() -> None:
    with pytest.raises(RobustlabError, match=r"proposed a point outside linf\(eps=1.0\)"):
        run((float("nan"),))


def test_restarts_see_what_is_left() -> None:
    images = torch.stack([torch.full((1, 2, 2), level) for level in (0.4, 0.7, 0.45)])
    attack = Scripted(levels=(0.1, 0.55, 0.2))
    # Moving by at most 0.16, only the third image gets beyond 0.6; the second is misclassified as it is.
    labels = torch.zeros(3, dtype=torch.int64)
    result = attack.run(Threshold().eval(), images, labels, Linf(eps=0.16))
    assert attack.looks == [2, 2, 2]
    attack = Scripted(levels=(1.0, 0.1))
    result = attack.run(Threshold().eval(), images, labels, Linf(eps=0.16))
    assert attack.looks == [2, 1]
    assert result.restarts.tolist() == [0, -1, 0]
    assert result.predictions.tolist() == [0, 1, 1]
    full = Scripted(levels=(1.0, 0.1))
    full.run(Threshold().eval(), images, labels, Linf(eps=0.16), early_stop=False)
    assert full.looks == [3, 3]


@pytest.mark.parametrize("n", [1, 2, 8192, 8193, 9001])
def test_a_batch_may_be_of_any_size(n: int) -> None:
    images = torch.linspace(0, 0.595, n).view(n, 1, 1, 1)
    labels = torch.zeros(n, dtype=torch.int64)
    attack = Scripted(levels=(0.1, 1.0))
    result = attack.run(Threshold().eval(), images, labels, Linf(eps=0.01), batch_size=10_000)
    assert attack.looks == [n, n]
    assert torch.equal(result.predictions == 1, images.flatten() > 0.59)
