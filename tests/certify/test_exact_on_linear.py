"""On a linear classifier interval bounds are exact: the worst allowed margin is known in closed form."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from robustlab.certify import IBP
from robustlab.certify.interval import Interval
from robustlab.certify.region import region
from robustlab.core import seeding
from robustlab.models import Normalize
from robustlab.threats import L0, L1, L2, Linf, ThreatModel

SHAPE = (2, 5, 6)
N = 60
CLASSES = 4


@pytest.fixture(params=["plain", "normalized"])
def model(request: pytest.FixtureRequest, make_linear: Callable[..., nn.Module]) -> nn.Module:
    plain = make_linear(classes=CLASSES, shape=SHAPE, seed=3)
    return plain if request.param == "plain" else nn.Sequential(Normalize(), plain).eval()


def slopes_and_margins(model: nn.Module, images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """Return (N, K, D) gradients of the label's logit minus each other one, and (N, K) these differences."""
    *_, last = model.modules()
    assert isinstance(last, nn.Linear)
    weight = last.weight.detach().double() * (2 if isinstance(next(model.children()), Normalize) else 1)
    with torch.no_grad():
        logits: Tensor = model.double()(images.double())
        model.float()
    return weight[labels][:, None] - weight[None], logits.gather(1, labels[:, None]) - logits


def images_and_labels(model: nn.Module, spread: float) -> tuple[Tensor, Tensor]:
    images = 0.5 + spread * (seeding.uniform(8, torch.arange(N), SHAPE) - 0.5)
    with torch.no_grad():
        right = model(images).argmax(dim=1)
    return images, torch.where(torch.arange(N) % 6 == 0, (right + 1) % CLASSES, right)


DUALS: list[tuple[type[ThreatModel], list[float], Callable[[Tensor, Any], Tensor]]] = [
    (Linf, [0.003, 0.01, 0.02], lambda w, eps: eps * w.abs().sum(2)),
    (L2, [0.03, 0.1, 0.2], lambda w, eps: eps * w.norm(dim=2)),
    (L1, [0.1, 0.2, 0.4], lambda w, eps: eps * w.abs().amax(2)),
    (L0, [1, 2, 3], lambda w, eps: w.abs().topk(eps, dim=2).values.sum(2)),
]


@pytest.mark.parametrize(("norm", "radii", "dual"), DUALS, ids=["linf", "l2", "l1", "l0"])
def test_proven_is_what_the_dual_norm_allows(
    norm: Any, radii: list[float], dual: Callable[[Tensor, Any], Tensor], model: nn.Module
) -> None:
    # Grey images do not meet the box; a pixel that takes any value is counted as going from end to end.
    images, labels = images_and_labels(model, spread=1.0 if norm is L0 else 0.2)
    slopes, margins = slopes_and_margins(model, images, labels)
    others = torch.arange(CLASSES)[None] != labels[:, None]
    shares = []
    for eps in radii:
        worst = margins - dual(slopes, eps)
        found = IBP().margins(model, images, labels, norm(eps=eps))
        assert torch.allclose(found[others], worst[others], atol=5e-3)
        assert (found[others] <= worst[others]).all()
        least = worst.where(others, torch.inf).amin(dim=1)
        sure = least.abs() > 5e-3  # the allowances for rounding and for measured distances decide the rest
        certified = IBP().certify(model, images, labels, norm(eps=eps))
        assert sure.sum() > 0.9 * N
        assert torch.equal(certified[sure], least[sure] > 0)
        shares.append(int(certified.sum()))
    assert N > shares[0] > shares[2] >= 0
    assert shares[0] >= 3


@pytest.mark.parametrize("eps", [0.01, 0.2, 0.6, 1.0])
def test_in_the_box_each_pixel_goes_as_far_as_it_may(eps: float, model: nn.Module) -> None:
    images, labels = images_and_labels(model, spread=1.0)
    slopes, margins = slopes_and_margins(model, images, labels)
    flat = images.double().flatten(1)[:, None]
    room = torch.where(slopes > 0, flat, 1 - flat).clamp(max=eps)
    worst = margins - (room * slopes.abs()).sum(dim=2)
    found = IBP().margins(model, images, labels, Linf(eps=eps))
    others = torch.arange(CLASSES)[None] != labels[:, None]
    assert torch.allclose(found[others], worst[others], atol=5e-3)
    assert (found[others] <= worst[others]).all()


def test_a_long_ball_is_cut_by_the_box(model: nn.Module) -> None:
    images, labels = images_and_labels(model, spread=1.0)
    box = IBP().margins(model, images, labels, Linf(eps=1.0))
    for threat in (L2(eps=30.0), L1(eps=300.0), L0(eps=60)):
        assert torch.allclose(IBP().margins(model, images, labels, threat), box)


@pytest.mark.parametrize("threat", [Linf(eps=0.1), L2(eps=0.4), L1(eps=0.5), L0(eps=2)], ids=repr)
def test_a_filter_of_the_images_size_is_bounded_like_a_row(threat: ThreatModel, model: nn.Module) -> None:
    *front, last = [m for m in model.modules() if not list(m.children())]
    assert isinstance(last, nn.Linear)
    conv = nn.Conv2d(2, CLASSES, SHAPE[1:])
    with torch.no_grad():
        conv.weight.copy_(last.weight.view_as(conv.weight))
        assert conv.bias is not None
        conv.bias.copy_(last.bias)
    layers = [layer for layer in front if isinstance(layer, Normalize)]
    filters = nn.Sequential(*layers, conv, nn.Flatten()).eval()
    images, _ = images_and_labels(model, spread=1.0)
    with torch.no_grad():
        one: Interval = model(region(images, threat, torch.float64))
        other: Interval = filters(region(images, threat, torch.float64))
    assert torch.allclose(one.lower, other.lower, atol=1e-9)
    assert torch.allclose(one.upper, other.upper, atol=1e-9)


REACHES = [(L1(eps=0.1), 1.0), (L2(eps=0.1), 1.0), (L0(eps=1), 5.0)]


@pytest.mark.parametrize(("threat", "reach"), REACHES, ids=["l1", "l2", "l0"])
def test_channels_of_another_scale_count_by_it(threat: ThreatModel, reach: float) -> None:
    class Scaled(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.fc = nn.Linear(2, 2, bias=False)
            with torch.no_grad():
                self.fc.weight.copy_(torch.tensor([[1.0, 1.0], [0.0, 0.0]]))

        def forward(self, x: Tensor) -> Tensor:
            logits: Tensor = self.fc((x * torch.tensor([10.0, 0.1]).view(1, 2, 1, 1)).flatten(1))
            return logits

    # The first pixel counts ten times, the second a tenth.
    images, labels = torch.full((1, 2, 1, 1), 0.5), torch.zeros(1, dtype=torch.int64)
    margin = float(IBP().margins(Scaled().eval(), images, labels, threat)[0, 1])
    assert 5.05 - 1.011 * reach <= margin + 1e-3
    assert margin <= 5.05 - reach


def test_copied_pixels_move_together_and_are_not_measured_by_the_dual_norm() -> None:
    # Three copies of a pixel that moves by eps move by sqrt(3) eps together.
    class Copied(nn.Module):
        def __init__(self, how: int) -> None:
            super().__init__()
            self.how, self.fc = how, nn.Linear(12, 2)
            with torch.no_grad():
                self.fc.weight.copy_(torch.tensor([[1.0], [-1.0]]).expand(2, 12))

        def forward(self, x: Tensor) -> Tensor:
            copies = [
                lambda: x.expand(-1, 3, -1, -1),
                lambda: x * torch.ones(1, 3, 1, 1),
                lambda: torch.cat([x, x, x], dim=1),
                lambda: x[:, [0, 0, 0]],
                lambda: x.repeat(1, 3, 1, 1),
            ][self.how]()
            logits: Tensor = self.fc(copies.flatten(1))
            return logits

    images, labels = torch.full((1, 1, 2, 2), 0.5), torch.zeros(1, dtype=torch.int64)
    for how in range(5):
        model = Copied(how).eval()
        threat = L2(eps=0.2)
        worst = threat.project(images - 1.0, images)
        with torch.no_grad():
            logits = model(worst)
        assert float(IBP().margins(model, images, labels, threat)[0, 1]) <= float(logits[0, 0] - logits[0, 1])
