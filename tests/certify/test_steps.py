"""Bounds through a threshold: exactly the black and white images that can be reached, ties included."""

import itertools
from fractions import Fraction

import pytest
import torch
from torch import Tensor, nn

from robustlab.certify import CROWN, CROWNIBP, IBP, AlphaCROWN, AutoCertifier, Interval, NoRuleError
from robustlab.certify.backward import Tape
from robustlab.certify.region import region
from robustlab.core import seeding
from robustlab.core.tolerance import with_tolerance
from robustlab.models import Threshold
from robustlab.threats import L0, L1, L2, Linf, ThreatModel

LEVELS = torch.arange(256)
GRID = (LEVELS.float() / 255).view(1, 1, 16, 16)
EPS = [Fraction(n, 255) for n in (1, 8, 51, 76, 77, 102)] + [
    Fraction(n, 1000) for n in (1, 100, 200, 300, 333)
]
AT = [Fraction(n, 1000) for n in (200, 300, 350, 400, 450, 500, 501, 800, 1000)] + [
    Fraction(n, 255) for n in (102, 128)
]


def bounds(images: Tensor, at: float, threat: ThreatModel) -> Interval:
    found = Threshold(at)(region(images, threat, torch.float64))
    assert isinstance(found, Interval)
    return found


@pytest.mark.parametrize("at", AT, ids=str)
@pytest.mark.parametrize("eps", EPS, ids=str)
def test_of_8_bit_images_the_box_is_the_one_that_whole_numbers_give(eps: Fraction, at: Fraction) -> None:
    # Closed on the attacker's side: a pixel that gets as far as a tie may have either value.
    white = [Fraction(n, 255) + eps >= at for n in LEVELS.tolist()]
    black = [Fraction(n, 255) - eps <= at for n in LEVELS.tolist()]
    # At the threshold itself white needs no move, and the edge of [0, 1] can't be crossed.
    white = [can and at <= 1 for can in white]
    black = [can and at > 0 for can in black]
    found = bounds(GRID, float(at), Linf(eps=float(eps)))
    assert found.upper.flatten().tolist() == [float(can) for can in white]
    assert found.lower.flatten().tolist() == [float(not can) for can in black]


def near(values: Tensor) -> Tensor:
    """Return the values and their neighbours in float32, up to 40 steps away, within [0, 1]."""
    steps = torch.arange(-40, 41)
    neighbours = (values.float().view(torch.int32)[:, None] + steps).to(torch.int32).view(torch.float32)
    return neighbours.clamp(0, 1).flatten()


@pytest.mark.parametrize("at", [0.2, 0.45, 0.5, 0.8])
@pytest.mark.parametrize("eps", [1 / 255, 0.1, 0.3])
def test_no_float_that_an_attack_may_propose_lies_outside(eps: float, at: float) -> None:
    pixels = near(torch.tensor([at - eps, at + eps, at, at - 2 * eps]).clamp(0.01, 0.99))
    images = pixels.view(1, 1, 4, -1)
    found = bounds(images, at, Linf(eps=eps))
    # The farthest points by the tolerance of attacks, and random ones.
    reach = with_tolerance(eps)
    key = seeding.derive(1, "points")
    shares = seeding.uniform(key, torch.arange(50), tuple(images.shape[1:])) * 2 - 1
    moves = torch.cat([shares, torch.ones_like(shares[:1]), -torch.ones_like(shares[:1])]) * reach
    seen = Threshold(at)((images + moves).clamp(0, 1))
    assert (seen >= found.lower).all()
    assert (seen <= found.upper).all()


def test_each_corner_of_the_box_is_reached() -> None:
    images, threat = GRID[..., :8, ::2], Linf(eps=0.3)
    for at in (0.45, 0.5):
        found = bounds(images, at, threat)
        for share in (0.0, 0.3, 1.0):
            upper = seeding.uniform(3, torch.arange(20), tuple(images.shape[1:])) < share
            corner = torch.where(upper, found.upper, found.lower).float()
            reach = with_tolerance(threat.eps)
            points = torch.where(corner > 0, images + reach, images - reach).clamp(0, 1)
            assert torch.equal(Threshold(at)(points), corner)


def tiny(seed: int, at: float = 0.5) -> nn.Sequential:
    """Return a network of (1, 3, 3) images and 3 classes behind a threshold."""
    with seeding.isolated(seed):
        layers = nn.Sequential(
            nn.Conv2d(1, 4, 2), nn.ReLU(), nn.Flatten(), nn.Linear(16, 8), nn.ReLU(), nn.Linear(8, 3)
        )
    return nn.Sequential(Threshold(at), layers).eval()


def corners(images: Tensor) -> Tensor:
    """Return (512, 1, 3, 3) all black and white images."""
    return torch.tensor(list(itertools.product((0.0, 1.0), repeat=9))).view(-1, *images.shape[1:])


def cost(images: Tensor, corner: Tensor, at: float, order: float) -> Tensor:
    """Return (N, 512) the norm of the smallest move from each image to what is seen as each corner."""
    wrong = Threshold(at)(images)[:, None] != corner
    moves = torch.where(wrong, (images[:, None] - at).abs(), 0.0).flatten(2)
    norms: Tensor = torch.linalg.vector_norm(moves, ord=order, dim=2)
    return norms


THREATS: list[tuple[ThreatModel, float]] = [
    (Linf(eps=0.05), torch.inf), (Linf(eps=0.15), torch.inf), (Linf(eps=0.3), torch.inf),
    (L2(eps=0.1), 2), (L2(eps=0.4), 2), (L1(eps=0.1), 1), (L1(eps=0.5), 1), (L0(eps=1), 0), (L0(eps=2), 0),
]  # fmt: skip


@pytest.mark.parametrize(("threat", "order"), THREATS, ids=repr)
@pytest.mark.parametrize("seed", range(4))
def test_margins_lie_below_those_of_every_corner_that_can_be_reached(
    seed: int, threat: ThreatModel, order: float
) -> None:
    model = tiny(seed)
    images = seeding.uniform(seed, torch.arange(8), (1, 3, 3))
    labels = model(images).argmax(dim=1)
    every = corners(images)
    logits = model[1](every).double().detach()
    margins = logits[:, labels].T[..., None] - logits[None]
    reached = cost(images, every, 0.5, order) <= threat.eps
    truth = margins.where(reached[..., None], torch.inf).amin(dim=1)
    certifiers: list[IBP | CROWNIBP | CROWN | AlphaCROWN] = [IBP()]
    if threat.name == "linf":
        certifiers += [CROWNIBP(), CROWN(), AlphaCROWN(steps=3)]
    others = ~torch.nn.functional.one_hot(labels, 3).bool()
    for certifier in certifiers:
        found = certifier.margins(model, images, labels, threat)
        assert (found <= truth)[others].all()
    proven = AutoCertifier().certify(model, images, labels, threat)
    assert (truth[proven] > 0)[others[proven]].all()


def test_behind_a_threshold_one_linear_layer_is_bounded_exactly() -> None:
    with seeding.isolated(2):
        behind = nn.Sequential(nn.Flatten(), nn.Linear(9, 2))
    model = nn.Sequential(Threshold(0.5), behind).eval()
    images = seeding.uniform(5, torch.arange(20), (1, 3, 3))
    labels = model(images).argmax(dim=1)
    every = corners(images)
    logits = model[1:](every).double().detach()
    margins = (logits[:, labels] - logits[:, 1 - labels]).T
    truth = margins.where(cost(images, every, 0.5, torch.inf) <= 0.2, torch.inf).amin(dim=1)
    found = IBP().margins(model, images, labels, Linf(eps=0.2))[torch.arange(20), 1 - labels]
    assert torch.allclose(found, truth, atol=1e-4)


def test_no_way_back_is_spent_on_the_layer_behind() -> None:
    pixels = Tape().start(region(GRID, Linf(eps=0.3), torch.float64))
    found = Threshold(0.5)(pixels)
    assert found.node is not None
    assert found.node.independent
    copied = Threshold(0.5)(Tape().start(region(GRID, Linf(eps=0.3), torch.float64)).repeat(1, 2, 1, 1))
    assert not copied.node.independent, "copies change together"


def test_a_step_with_another_value_at_zero() -> None:
    pixels = region(GRID, Linf(eps=0.3), torch.float64)
    with pytest.raises(NoRuleError, match="from 0 to 1"):
        torch.heaviside(pixels - 0.5, torch.tensor(2.0))
    middle = torch.heaviside(Interval(torch.zeros(3), torch.tensor([0.0, 0.0, 1.0])), torch.tensor(0.5))
    assert isinstance(middle, Interval)
    assert middle.lower.tolist() == [0.5, 0.5, 0.5]
    assert middle.upper.tolist() == [0.5, 0.5, 1.0]
