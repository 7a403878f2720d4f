"""Training on linear bounds: those of the certifier, with a gradient."""

import pytest
import torch
import torch.nn.functional as F
from certified_cases import make, network_of, step_on
from torch import Tensor, nn

from robustlab.certify import CROWNIBP, Interval, both_margin_bounds, margin_bounds
from robustlab.threats import Linf
from robustlab.training.objectives.certified import ball, bound_loss


def test_the_weight_of_linear_bounds_falls_as_eps_rises() -> None:
    network = network_of().eval()
    step, objective = step_on(network), make("crown_ibp_training")
    network.eval()

    def pixels() -> Interval:
        return Interval(*ball(Linf(eps=0.1), step.images, 1.0))

    intervals, linear = both_margin_bounds(network, step.labels, pixels())
    others = intervals.isfinite()
    assert linear[others].mean() > intervals[others].mean() + 0.05
    for share in (0.01, 0.25, 1.0):
        found = objective.margins(network, step.labels, pixels(), share)
        torch.testing.assert_close(
            found, share * intervals + (1 - share) * linear if share < 1 else intervals
        )
    torch.testing.assert_close(intervals, margin_bounds(network, step.labels, pixels()))


def test_linear_bounds_are_those_of_the_certifier_up_to_rounding() -> None:
    network = network_of().eval()
    step = step_on(network)
    network.eval()
    # The certifier allows a little more than eps.
    pixels = Interval(*ball(Linf(eps=0.1 * (1 + 1e-5) + 1e-5), step.images, 1.0))
    expected = CROWNIBP().margins(network, step.images, step.labels, Linf(eps=0.1))
    torch.testing.assert_close(
        both_margin_bounds(network, step.labels, pixels)[1].double(), expected, rtol=1e-4, atol=1e-4
    )


@pytest.mark.parametrize("name", ["1.weight", "2.weight", "2.bias", "5.weight", "7.bias"])
def test_the_gradient_of_linear_bounds_equals_finite_differences(name: str) -> None:
    network = network_of().double().eval()
    step = step_on(network, 6)
    network.eval()
    lower, upper = (ends.double() for ends in ball(Linf(eps=0.05), step.images, 1.0))
    others = F.one_hot(step.labels, 3) == 0

    def bound() -> Tensor:
        return both_margin_bounds(network, step.labels, Interval(lower, upper))[1][others].sum()

    weight = dict(network.named_parameters())[name]
    (gradient,) = torch.autograd.grad(bound(), weight)
    assert gradient.abs().max() > 0.01
    for place in range(0, weight.numel(), 5):
        sums = []
        with torch.no_grad():
            for change in (1e-6, -2e-6):
                weight.view(-1)[place] += change
                sums.append(float(bound()))
            weight.view(-1)[place] += 1e-6
        assert float(gradient.view(-1)[place]) == pytest.approx(
            (sums[0] - sums[1]) / 2e-6, rel=1e-3, abs=1e-3
        )


@pytest.mark.parametrize("layer", [nn.Tanh, nn.Sigmoid, nn.ReLU, nn.LeakyReLU])
def test_linear_bounds_through_other_layers_have_a_gradient(layer: type[nn.Module]) -> None:
    parts = [nn.Conv2d(1, 3, 3, padding=1), layer(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(12, 5)]
    network = nn.Sequential(*parts, layer(), nn.Linear(5, 3)).eval()
    step = step_on(network)
    network.eval()
    loss, _ = bound_loss(
        step,
        *ball(Linf(eps=0.1), step.images, 1.0),
        lambda *given: both_margin_bounds(*given)[1],
    )
    loss.backward()  # type: ignore[no-untyped-call]
    for parameter in network.parameters():
        assert parameter.grad is not None
        assert parameter.grad.isfinite().all()
        assert parameter.grad.abs().max() > 0
