"""Operation by operation: the results on numbers between the bounds lie between the bounds of the result."""

import contextlib
from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from robustlab.certify.interval import IN_PLACE, RULES, Interval, NoRuleError
from robustlab.core import seeding

SHAPE = (3, 4, 6, 6)
OTHER = torch.linspace(-2, 2, 36).view(6, 6)

Function = Callable[[Tensor], Tensor]

FUNCTIONS: dict[str, Function] = {
    "relu": F.relu,
    "relu in place": lambda x: F.relu(x, inplace=True) + x,
    "relu_": lambda x: x.relu_() - x,
    "leaky relu": lambda x: F.leaky_relu(x, 0.3),
    "leaky relu in place": lambda x: F.leaky_relu_(x, 0.3) + 2 * x,
    "prelu": lambda x: F.prelu(x, torch.tensor([0.1, 0.0, 0.5, 2.0])),
    "elu": lambda x: F.elu(x, 1.5),
    "celu": lambda x: F.celu(x, 0.7),
    "selu": F.selu,
    "sigmoid": torch.sigmoid,
    "tanh": lambda x: x.tanh(),
    "softplus": lambda x: F.softplus(x, beta=3.0),
    "softsign": F.softsign,
    "log sigmoid": F.logsigmoid,
    "hard sigmoid": F.hardsigmoid,
    "hard tanh": lambda x: F.hardtanh(x, -0.5, 0.7),
    "relu6": lambda x: F.relu6(3 * x),
    "clamp": lambda x: x.clamp(-0.3, 0.1),
    "clamp to tensors": lambda x: torch.clamp(x, min=-OTHER.abs(), max=OTHER.abs()),
    "clamp in place": lambda x: x.clamp_(min=0.1) * x,
    "round": torch.round,
    "step": lambda x: torch.heaviside(x - 0.1, torch.ones(())),
    "floor and ceil": lambda x: x.floor() + x.ceil(),
    "max pool": lambda x: F.max_pool2d(x, 3, 2, 1, ceil_mode=True),
    "adaptive max pool": lambda x: F.adaptive_max_pool2d(x, (2, 4)),
    "average pool": lambda x: F.avg_pool2d(x, (2, 3), 1, 1, count_include_pad=False),
    "adaptive average pool": lambda x: F.adaptive_avg_pool2d(x, (5, 1)),
    "mean": lambda x: x.mean((2, 3)),
    "sum": lambda x: torch.sum(x, dim=-1, keepdim=True),
    "amax and amin": lambda x: x.amax(dim=1) + x.amin(dim=1),
    "maximum": lambda x: torch.maximum(x, OTHER) + torch.minimum(x, x.flip(3)),
    "add": lambda x: 1.3 + x + OTHER + x + 2,
    "add in place": lambda x: x.add_(OTHER).add_(0.7),
    "sub": lambda x: 0.1 - x - OTHER - x.transpose(2, 3),
    "sums with a factor": lambda x: torch.sub(x.add(OTHER, alpha=-0.3), x.flip(2), alpha=0.7).sub_(
        1, alpha=2
    ),
    "rsub with a factor": lambda x: torch.rsub(x, OTHER, alpha=0.3),
    "rsub": lambda x: OTHER - x,
    "neg": lambda x: -x,
    "mul": lambda x: x * OTHER * -0.7,
    "mul in place": lambda x: x.mul_(-0.3) + x,
    "square": lambda x: x * x,
    "product": lambda x: x * (0.5 - x.flip(2)),
    "div": lambda x: x / -0.3 / (OTHER + 3),
    "batch norm": lambda x: F.batch_norm(
        x, torch.arange(4.0), torch.arange(1.0, 5), torch.arange(4.0) - 2, torch.ones(4)
    ),
    "dropout": lambda x: F.dropout2d(F.dropout(x, 0.5, False), training=False),
    "linear": lambda x: F.linear(x, OTHER[:5], OTHER[0, :5]),
    "matmul": lambda x: x @ OTHER[:, :2],
    "conv": lambda x: F.conv2d(x, _filters(6, 2, 3, 2), OTHER[0], (1, 2), (0, 1), 2, groups=2),
    "conv 1d": lambda x: F.conv1d(x.flatten(2), _filters(5, 4, 7), None, 3),
    "conv 3d": lambda x: F.conv3d(x[:, None], _filters(2, 1, 2, 3, 3)),
    "cat and stack": lambda x: torch.stack([torch.cat([x, OTHER.expand(3, 1, 6, 6), -x], 1)] * 2),
    "pad": lambda x: F.pad(F.pad(x, (1, 2, 0, 1), mode="reflect"), (1, 1), value=0.3),
    "views": lambda x: x.view(3, -1).reshape(3, 6, -1).permute(2, 0, 1).unsqueeze(0).squeeze(0).contiguous(),
    "chunks": lambda x: sum(x.chunk(2, dim=1), torch.zeros(())) - torch.split(x, 2, dim=1)[1],
    "pieces": lambda x: x[:, 1:, ..., 2] + x.narrow(1, 0, 3).select(3, 1) + x.unbind(1)[0][:, None, :, 0],
    "copies": lambda x: x[:, :1].expand(-1, 4, -1, -1) + x.repeat(1, 1, 2, 1)[:, :, :6] + x.roll(1, 2),
    "nearest pixel": lambda x: F.interpolate(
        F.interpolate(x, size=(9, 4)), scale_factor=2.0, mode="nearest-exact"
    ),
    "casts": lambda x: x.float().to(torch.float32).to(OTHER).to("cpu").double().detach().clone(),
    "casts by type": lambda x: x.type(torch.float32).type_as(OTHER).to(x) * OTHER.to(x),
    "too small for float32": lambda x: x * 1e-30 * 1e-20 / 1e-20,
    "facts": lambda x: x.view(x.size(0), -1) if x.dim() == 4 and len(x) == x.shape[0] else -x,
}


def _filters(*shape: int) -> Tensor:
    count = int(torch.tensor(shape).prod())
    return torch.linspace(-1, 1, count).view(*shape).sin()


def bounds_and_points(width: float) -> tuple[Interval, list[Tensor]]:
    """Return intervals around numbers of either sign, and numbers in them: corners and others."""
    key = seeding.derive(1, width)
    centre = seeding.normal(key, torch.arange(SHAPE[0]), SHAPE[1:])
    shares = [seeding.uniform(key + k, torch.arange(SHAPE[0]), SHAPE[1:]) * 2 - 1 for k in range(1, 30)]
    shares += [share.sign() for share in shares[:20]] + [torch.ones(SHAPE), -torch.ones(SHAPE)]
    # In float32 the points are rounded; the bounds are taken around what they became.
    points = [centre + width * share for share in shares]
    stacked = torch.stack(points).double()
    return Interval(stacked.amin(0), stacked.amax(0)), points


@pytest.mark.parametrize("width", [0.0, 1e-4, 0.2, 2.0])
@pytest.mark.parametrize("name", FUNCTIONS)
def test_results_lie_between_the_bounds(name: str, width: float) -> None:
    function = FUNCTIONS[name]
    interval, points = bounds_and_points(width)
    result = function(interval)
    assert isinstance(result, Interval)
    values = [function(point.clone()) for point in points]
    assert result.shape == values[0].shape
    assert all((value >= result.lower).all() and (value <= result.upper).all() for value in values)
    # At width 0 nothing is left but rounding.
    if width == 0:
        assert (result.upper - result.lower).max() <= 1e-4


@pytest.mark.parametrize("name", ["relu", "leaky relu", "tanh", "clamp", "max pool", "neg", "div", "add"])
def test_bounds_of_increasing_or_decreasing_functions_are_attained(name: str) -> None:
    interval, _ = bounds_and_points(0.2)
    result = FUNCTIONS[name](interval)
    assert isinstance(result, Interval)
    ends = FUNCTIONS[name](interval.lower), FUNCTIONS[name](interval.upper)
    assert torch.allclose(result.lower, torch.minimum(*ends), atol=1e-5)
    assert torch.allclose(result.upper, torch.maximum(*ends), atol=1e-5)


@pytest.mark.parametrize("size", [1e10, 1e29, 1.2e30, 1e37])
@pytest.mark.parametrize("name", FUNCTIONS)
def test_no_result_leaves_the_range_of_float32(name: str, size: float) -> None:
    points = torch.stack(bounds_and_points(0.2)[1]) * size
    interval = Interval(points.double().amin(0), points.double().amax(0))
    with contextlib.suppress(NoRuleError):
        result = FUNCTIONS[name](interval)
        assert isinstance(result, Interval)
        values = [FUNCTIONS[name](point.clone()) for point in points]
        assert all((value >= result.lower).all() and (value <= result.upper).all() for value in values)


@pytest.mark.parametrize("value", [1e-50, -1e-40, 1e39, torch.tensor(1e-50, dtype=torch.float64)])
def test_numbers_that_float32_does_not_have_are_refused(value: float) -> None:
    for function in (
        lambda x: x * value,
        lambda x: x.clamp(max=value),
        lambda x: torch.add(x, x, alpha=value) if isinstance(value, float) else x - value,
        lambda x: F.leaky_relu(x, abs(value)),
        lambda x: F.elu(x, abs(value)),
        lambda x: F.pad(x, (1, 1), value=value),
    ):
        with pytest.raises(NoRuleError, match="float32"):
            function(bounds_and_points(0.2)[0])


def test_an_interval_does_what_a_tensor_does_in_place() -> None:
    interval, _ = bounds_and_points(0.2)
    before = interval.lower.clone()
    view = interval.view(3, -1)
    same = F.relu(interval, inplace=True)
    assert same is interval
    assert torch.allclose(interval.lower, before.relu())
    with pytest.raises(NoRuleError, match="through another view"):
        F.relu(view)
    other, _ = bounds_and_points(0.2)
    F.relu(other.view(3, -1), inplace=True)
    with pytest.raises(NoRuleError, match="through another view"):
        other + 1
    third, _ = bounds_and_points(0.2)
    kept = F.dropout(third, 0.5, False)
    third.mul_(2)
    assert isinstance(kept, Interval)
    assert torch.equal(kept.lower, third.lower)


def test_the_bounds_given_are_not_changed_in_place() -> None:
    interval, _ = bounds_and_points(0.2)
    lower, upper = interval.lower, interval.upper
    copies = lower.clone(), upper.clone()
    interval.add_(1).relu_().mul_(-1)
    assert torch.equal(lower, copies[0])
    assert torch.equal(upper, copies[1])


def test_every_function_in_the_table_exists_in_a_variant_that_returns() -> None:
    assert set(IN_PLACE.values()) <= set(RULES)
    assert not set(IN_PLACE) & set(RULES)
