"""No point of a threat model lies outside the bounds, whatever the network."""

from typing import Any

import pytest
import torch
import torch.nn.functional as F
import torchvision
from hypothesis import given
from hypothesis import strategies as st
from random_networks import THREATS, Case, cases, points, randomize
from torch import Tensor, nn

from robustlab.certify import IBP, rounding
from robustlab.certify.interval import Ball, Interval
from robustlab.certify.region import region
from robustlab.core import seeding
from robustlab.threats import Linf, ThreatModel


@given(case=cases(), threat=st.sampled_from(THREATS))
def test_every_point_lies_within_the_bounds(case: Case, threat: ThreatModel) -> None:
    assert IBP().explain(case.model, case.images) is None
    margins = IBP().margins(case.model, case.images, case.labels, threat)
    with torch.no_grad():
        bounds = case.model(region(case.images, threat, torch.float64))
    assert isinstance(bounds, Interval)
    here = case.labels[:, None]
    # Eliding the last layer only helps.
    apart = (bounds.lower.gather(1, here) - bounds.upper).scatter(1, here, torch.inf)
    assert (margins >= apart - 1e-9 * (1 + apart.abs().nan_to_num(posinf=0))).all()
    for point in points(case, threat, 4):
        with torch.no_grad():
            logits = case.model(point).double()
        assert (logits >= bounds.lower).all()
        assert (logits <= bounds.upper).all()
        found = logits.gather(1, here) - logits
        assert (found.scatter(1, here, torch.inf) >= margins).all()


@given(case=cases())
def test_no_room_leaves_no_slack_but_for_rounding(case: Case) -> None:
    # The float32 logits lie within the bounds of a single point, and those are narrow.
    pixels = case.images.double()
    with torch.no_grad():
        bounds, logits = case.model(Interval(pixels, pixels)), case.model(case.images)
        size = case.model(Interval(pixels, pixels)).upper.abs().max()
    assert (bounds.lower <= logits).all()
    assert (bounds.upper >= logits).all()
    assert (bounds.upper - bounds.lower).max() <= 0.05 * (1 + size)


@pytest.fixture
def wide() -> Any:
    """Networks of one layer with thousands of terms of either sign, which float32 rounds far from zero."""
    with seeding.isolated(5):
        conv = nn.Conv2d(64, 40, (8, 8))
        images = 1000 * torch.rand(50, 64, 8, 8)
        norm = nn.BatchNorm2d(64)
        assert norm.running_mean is not None
        norm.running_mean.copy_(images.mean((0, 2, 3)))
    dense = nn.Linear(4096, 40)
    flat = nn.Sequential(nn.Flatten(), dense)
    with torch.no_grad():
        dense.weight.copy_(conv.weight.flatten(1))
    layers = {"conv": conv, "linear": flat, "batch norm": norm, "pool": nn.AvgPool2d(8)}
    return images, {name: layer.eval() for name, layer in layers.items()}


def test_float32_rounding_is_allowed_for(wide: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    images, layers = wide

    def escaped(layer: nn.Module) -> int:
        with torch.no_grad():
            bounds, values = layer(Interval(images.double(), images.double())), layer(images).double()
        return int(((values < bounds.lower) | (values > bounds.upper)).sum())

    assert [escaped(layer) for layer in layers.values()] == [0, 0, 0, 0]
    monkeypatch.setitem(rounding._UNIT, torch.float64, 0.0)
    assert all(escaped(layer) > 0 for layer in layers.values())  # so the test above can fail


def test_float32_rounding_before_the_first_layer_is_allowed_for_in_a_ball() -> None:
    # A standardisation that ends near 0 rounds by far more than u times its result.
    with seeding.isolated(6):
        images = 0.5 + 1e-6 * torch.rand(50, 1, 4, 4)
        dense = nn.Linear(16, 40)
    pixels = images.double()
    point = Ball(2, 0.0, pixels, pixels + 1, torch.zeros_like(pixels))
    with torch.no_grad():
        values = dense(((images - 0.3) * 1e5 - 2e4).flatten(1)).double()
        bounds = dense(((Interval(pixels, pixels, ball=point) - 0.3) * 1e5 - 2e4).flatten(1))
    assert isinstance(bounds, Interval)
    assert (values >= bounds.lower).all()
    assert (values <= bounds.upper).all()
    assert (bounds.upper - bounds.lower).max() < 1.0


def test_bounds_agree_with_the_papers_formulas() -> None:
    with seeding.isolated(3):
        conv, fc = nn.Conv2d(1, 5, 3, stride=2), nn.Linear(5 * 3 * 4, 4)
        images, labels = torch.rand(20, 1, 8, 9), torch.arange(20) % 4
    model = nn.Sequential(conv, nn.ReLU(), nn.Flatten(), fc).eval()
    eps = 0.07
    lower, upper = (images.double() - eps).clamp(min=0), (images.double() + eps).clamp(max=1)
    weight, bias = conv.weight.double(), conv.bias
    assert bias is not None
    up, down = weight.clamp(min=0), weight.clamp(max=0)

    def ends(first: Tensor, second: Tensor) -> Tensor:
        return F.conv2d(first, up, bias.double(), 2) + F.conv2d(second, down, None, 2)

    low, high = ends(lower, upper).relu().flatten(1), ends(upper, lower).relu().flatten(1)
    differences = (fc.weight[labels][:, None] - fc.weight[None]).double()  # (N, K, D)
    offsets = (fc.bias[labels][:, None] - fc.bias[None]).double()
    expected = (differences.clamp(min=0) * low[:, None] + differences.clamp(max=0) * high[:, None]).sum(2)
    found = IBP().margins(model, images, labels, Linf(eps=eps))
    others = torch.arange(4)[None] != labels[:, None]
    assert torch.allclose(found[others], (expected + offsets)[others], atol=1e-3)
    assert (found[others] <= (expected + offsets)[others]).all()
    assert found[~others].isinf().all()


@pytest.mark.parametrize("name", ["resnet18", "mobilenet_v2", "shufflenet_v2_x0_5"])
def test_public_architectures_are_understood_as_they_are(name: str) -> None:
    with seeding.isolated(2):
        model: nn.Module = getattr(torchvision.models, name)(weights=None, num_classes=7).eval()
        randomize(model)
        images = torch.rand(2, 3, 32, 32)
    assert IBP().explain(model, images) is None
    with torch.no_grad():
        bounds = model(region(images, Linf(eps=1e-4), torch.float64))
        for step in (-1e-4, 0.0, 1e-4):
            logits = model((images + step).clamp(0, 1)).double()
            assert (logits >= bounds.lower).all()
            assert (logits <= bounds.upper).all()
    assert torch.isfinite(bounds.upper - bounds.lower).all()


def test_a_network_that_could_overflow_is_refused() -> None:
    with seeding.isolated(1):
        first, second = nn.Linear(16, 4), nn.Linear(4, 3)
    with torch.no_grad():
        first.weight.mul_(1e20)
        second.weight.mul_(1e15)
    model = nn.Sequential(nn.Flatten(), first, nn.ReLU(), second).eval()
    images = seeding.uniform(0, torch.arange(5), (1, 4, 4))
    assert "float32" in str(IBP().explain(model, images))
