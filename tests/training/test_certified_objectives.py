"""Trainings on bounds: against closed forms, points of the box, and the certifier that they are for."""

import dataclasses
from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from certified_cases import NAMES, SHAPE, make, network_of, step_on
from torch import Tensor, nn

from robustlab.certify import IBP, Interval, margin_bounds
from robustlab.certify.rules.linear import products_in
from robustlab.core import seeding
from robustlab.core.device import Compute
from robustlab.core.errors import SpecError
from robustlab.core.spec import parse
from robustlab.data import Splits
from robustlab.models import CNN, Shape, StridedCNN
from robustlab.threats import Linf
from robustlab.training import (
    SABR,
    Adam,
    CrossEntropy,
    IBPTraining,
    Objective,
    TrainConfig,
    Triangle,
    train,
)
from robustlab.training.batch_norm import batch_statistics
from robustlab.training.objectives.bound_shapes import imbalance, initialize, seen_by_relus
from robustlab.training.objectives.certified import ball, bound_loss

# The bound


def test_the_bound_of_a_linear_network_is_the_worst_corner(make_linear: Callable[..., nn.Module]) -> None:
    network = make_linear(classes=3, shape=SHAPE)
    step = step_on(network)
    images = step.images * 0.4 + 0.3
    weight = next(iter(network.parameters())).detach()
    loss, _ = bound_loss(dataclasses.replace(step, images=images), images - 0.1, images + 0.1)
    logits = network(images)
    lost = 0.1 * (weight[step.labels][:, None] - weight).abs().sum(dim=2)
    worst = logits - logits.gather(1, step.labels[:, None]) + lost
    torch.testing.assert_close(loss, F.cross_entropy(worst, step.labels))


def test_the_bound_is_at_least_the_loss_at_any_point_of_the_box() -> None:
    network = network_of()
    step = step_on(network)
    lower, upper = ball(Linf(eps=0.1), step.images, 1.0)
    assert lower.min() >= 0
    assert upper.max() <= 1
    bound, _ = bound_loss(step, lower, upper)
    network.eval()
    worst = torch.zeros(())
    for seed in range(200):
        draws = seeding.uniform(seed, step.ids, SHAPE).round()
        worst = torch.maximum(worst, F.cross_entropy(network(lower + draws * (upper - lower)), step.labels))
    assert worst <= bound
    clean = F.cross_entropy(network(step.images), step.labels)
    assert clean < worst
    nothing, _ = bound_loss(step, step.images, step.images)
    torch.testing.assert_close(nothing, clean)


def test_its_verdict_is_that_of_the_certifier() -> None:
    network = network_of().eval()
    step, eps = step_on(network, 40), 0.004
    network.eval()
    lower, upper = ball(Linf(eps=eps), step.images, 1.0)
    certified = IBP().certify(network, step.images, step.labels, Linf(eps=eps))
    assert 0 < certified.float().mean() < 1
    for row in range(40):
        one = dataclasses.replace(
            step, images=step.images[[row]], labels=step.labels[[row]], ids=step.ids[[row]]
        )
        loss, _ = bound_loss(one, lower[[row]], upper[[row]])
        if certified[row]:  # every other worst logit is below the label's
            assert float(loss.detach()) < torch.tensor(3.0).log()


def test_the_gradient_of_the_bound_equals_finite_differences() -> None:
    network = network_of()
    step = step_on(network, 6)
    box = ball(Linf(eps=0.05), step.images, 1.0)
    weight = dict(network.named_parameters())["1.weight"]
    (gradient,) = torch.autograd.grad(bound_loss(step, *box)[0], weight)
    for place in ((0, 0), (3, 7), (11, 15)):
        losses = []
        for change in (2e-3, -2e-3):
            with torch.no_grad():
                weight[place] += change
                losses.append(float(bound_loss(step, *box)[0]))
                weight[place] -= change
        assert float(gradient[place]) == pytest.approx((losses[0] - losses[1]) / 4e-3, rel=0.05, abs=1e-3)


def test_in_autocast_the_layers_multiply_in_its_format() -> None:
    network = network_of()
    step = step_on(network)
    box = ball(Linf(eps=0.1), step.images, 1.0)
    exact, _ = bound_loss(step, *box)
    with torch.autocast("cpu", torch.bfloat16):
        rough, _ = bound_loss(step, *box)
    assert rough.dtype == torch.float32
    assert 0 < (rough - exact).abs().detach() < 0.02 * exact.detach()
    gradients = torch.autograd.grad(rough, list(network.parameters()), allow_unused=True)
    for rounded, one in zip(
        gradients, torch.autograd.grad(exact, list(network.parameters()), allow_unused=True), strict=True
    ):
        if one is not None:
            torch.testing.assert_close(rounded, one, rtol=0.1, atol=0.02)
    again, _ = bound_loss(step, *box)
    assert torch.equal(again, exact)


def test_a_certifier_never_multiplies_in_another_format() -> None:
    network = network_of().eval()
    step = step_on(network)
    network.eval()
    expected = IBP().certify(network, step.images, step.labels, Linf(eps=0.004))
    pixels = Interval(step.images.double(), step.images.double())
    exact = margin_bounds(network, step.labels, pixels)
    with products_in(torch.bfloat16):
        torch.testing.assert_close(
            margin_bounds(network, step.labels, pixels), exact, rtol=0, atol=0, equal_nan=True
        )
    assert torch.equal(IBP().certify(network, step.images, step.labels, Linf(eps=0.004)), expected)


def test_the_bound_leaves_no_trace_in_the_network() -> None:
    network = network_of()
    network[4].eval()  # a part that somebody has frozen
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    modes = [module.training for module in network.modules()]
    bound_loss(step_on(network), *ball(Linf(eps=0.1), step_on(network).images, 1.0))
    network[4].eval()
    assert all(torch.equal(tensor, before[name]) for name, tensor in network.state_dict().items())
    assert [module.training for module in network.modules()] == modes
    assert not any(module._forward_pre_hooks for module in network.modules())


# The objectives


@pytest.mark.parametrize("name", NAMES)
def test_the_weights_and_eps_follow_the_ramp(name: str) -> None:
    objective = make(name, warmup=0.2, ramp=0.6)
    shares = [objective.share(progress) for progress in (0.0, 0.19, 0.2, 0.4, 0.6, 1.0)]
    assert shares == pytest.approx([0, 0, 0, 0.5, 1, 1])
    network = network_of()
    network[4] = nn.Identity()
    step = step_on(network, progress=0.1)
    expected = F.cross_entropy(network(step.images), step.labels)
    torch.testing.assert_close(objective.loss(step), expected)


def test_the_loss_of_ibp_training_is_the_papers() -> None:
    for progress, share in ((1.0, 1.0), (0.35, 0.5)):
        network = network_of()
        network[4] = nn.Identity()
        step = step_on(network, progress=progress)
        with batch_statistics(network) as statistics:
            clean = F.cross_entropy(network(step.images), step.labels)
        box = ball(Linf(eps=0.1 * share), step.images, 1.0)
        bound, layers = bound_loss(step, *box, statistics=statistics)
        expected = 0.25 * share * bound + (1 - 0.25 * share) * clean
        expected = expected + 0.5 * (1 - share) * imbalance(box, layers)
        network.load_state_dict(network_of().state_dict(), strict=False)
        found = make("ibp_training", kappa=0.75, warmup=0.1, ramp=0.6).loss(step)
        torch.testing.assert_close(found, expected)


@pytest.mark.parametrize("name", NAMES)
def test_with_eps_0_it_is_cross_entropy_to_the_last_bit(name: str, digits: Splits, fp32: Compute) -> None:
    def bits(objective: Objective) -> dict[str, Tensor]:
        with seeding.isolated(1):
            network = CNN().build(Shape(1, 28, 28, 10))
        data = (digits.train.take(slice(60)), digits.validation.take(slice(20)))
        train(network, objective, *data, config=TrainConfig(epochs=1, batch_size=20), compute=fp32, key=7)
        return network.state_dict()

    found, plain = bits(make(name, threat=Linf(eps=0.0))), bits(CrossEntropy())
    assert all(torch.equal(found[key], plain[key]) for key in plain)


def test_the_small_box_lies_in_the_ball_where_the_loss_is_higher() -> None:
    network = network_of()
    network[4] = nn.Identity()
    step, objective = step_on(network), SABR(threat=Linf(eps=0.1), box_share=0.4)
    lower, upper = objective.box(step, 1.0)
    whole = ball(objective.threat, step.images, 1.0)
    assert (lower >= whole[0] - 1e-6).all()
    assert (upper <= whole[1] + 1e-6).all()
    assert float((upper - lower).max()) == pytest.approx(0.08, rel=1e-4)
    network.eval()
    there = F.cross_entropy(network((lower + upper) / 2), step.labels)
    assert there > F.cross_entropy(network(step.images), step.labels) + 0.005
    assert bound_loss(step, lower, upper)[0] < bound_loss(step, *whole)[0]
    validating = dataclasses.replace(step, validating=True)
    for found, expected in zip(
        objective.box(validating, 1.0), ball(Linf(eps=0.04), step.images, 1.0), strict=True
    ):
        torch.testing.assert_close(found, expected)


def test_a_box_of_the_whole_ball_is_ibp_training() -> None:
    step = step_on(network_of())
    for progress in (0.4, 1.0):
        there = dataclasses.replace(step, progress=progress)
        found = make("sabr", box_share=1.0, kappa=0.0, warmup=0.0, ramp=0.4).loss(there)
        torch.testing.assert_close(found, make("ibp_training", kappa=0.0, warmup=0.0, ramp=0.4).loss(there))


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("wrong", ["threat=l2(eps=1.0)", "threat=unbounded", "threat=l0(eps=3)"])
def test_a_threat_model_that_is_no_box_is_refused(name: str, wrong: str) -> None:
    with pytest.raises(SpecError, match="threat"):
        parse(Objective, f"{name}({wrong})")


def test_a_ramp_that_ends_before_it_begins_is_refused() -> None:
    with pytest.raises(SpecError, match="ramp"):
        IBPTraining(threat=Linf(eps=0.1), warmup=0.5, ramp=0.4)


# Batch normalisation


@pytest.mark.parametrize("name", NAMES)
def test_bounds_take_the_statistics_of_the_clean_batch(name: str) -> None:
    network = network_of()
    network[4] = nn.Identity()
    step = step_on(network)
    objective = make(name, threat=Linf(eps=1e-6), kappa=0.0)
    # In the smallest of boxes the worst logits are the clean ones: those of a pass in train mode.
    found = objective.loss(step)
    clean = F.cross_entropy(network(step.images), step.labels)
    torch.testing.assert_close(found, clean, rtol=1e-3, atol=1e-3)
    running = F.cross_entropy(network.eval()(step.images), step.labels)
    assert (running - clean).abs() > 0.01
    weight = next(iter(network.parameters()))
    gradients = [torch.autograd.grad(loss, weight)[0] for loss in (found, clean)]
    torch.testing.assert_close(*gradients, rtol=1e-2, atol=1e-3)


def test_a_step_on_bounds_alone_moves_the_running_statistics() -> None:
    network = network_of()
    before = network[2].running_mean.clone()  # type: ignore[operator]
    make("ibp_training", kappa=0.0).loss(step_on(network))
    assert not torch.equal(network[2].running_mean, before)  # type: ignore[arg-type]


def test_a_frozen_layer_keeps_its_statistics_and_bounds_take_these() -> None:
    network = network_of()
    step = step_on(network)
    network.eval()
    expected, _ = bound_loss(step, *ball(Linf(eps=0.1), step.images, 1.0))
    found = make("ibp_training", kappa=0.0).loss(step)
    torch.testing.assert_close(found, expected)


# Linear bounds


@pytest.mark.parametrize("name", NAMES)
def test_a_ramp_that_never_ends_is_refused(name: str) -> None:
    with pytest.raises(SpecError, match="ramp must be below 1"):
        make(name, warmup=0.0, ramp=1.0)


# Initialisation and regulariser


def test_fresh_weights_have_the_papers_variance() -> None:
    network = nn.Sequential(nn.Conv2d(3, 200, 3), nn.Linear(400, 300))
    with seeding.isolated(1):
        initialize(network)
    for layer, fan_in in ((network[0], 27), (network[1], 400)):
        weight, bias = (parameter.detach() for parameter in layer.parameters())
        assert float(weight.std()) == pytest.approx((2 * torch.pi) ** 0.5 / fan_in, rel=0.05)
        assert float(bias.abs().max()) == 0


def test_the_regulariser_on_bounds_by_hand() -> None:
    pixels = (torch.zeros(1, 2), torch.full((1, 2), 0.2))
    # Four times as wide: half of 0.5 is missing. Centres 0.4 and -0.1: sums 4 to 1. Deviations are equal.
    layer = (torch.tensor([[0.0, -0.5]]), torch.tensor([[0.8, 0.3]]))
    assert float(imbalance(pixels, [layer])) == pytest.approx(0.5 + 0.5)
    narrow = (torch.tensor([[0.2, -0.4]]), torch.tensor([[0.4, -0.2]]))
    assert float(imbalance(pixels, [narrow])) == pytest.approx(0.0)
    assert float(imbalance(pixels, [])) == 0


def test_the_bounds_at_each_relu_are_seen() -> None:
    network = network_of()
    step = step_on(network)
    _, layers = bound_loss(step, *ball(Linf(eps=0.1), step.images, 1.0))
    assert [tuple(lower.shape) for lower, _ in layers] == [(20, 12), (20, 8)]
    assert all((lower <= upper).all() for lower, upper in layers)
    with seen_by_relus(network) as seen:
        network(step.images)
    assert seen == []


# What they are for


def shares(objective: Objective, digits: Splits) -> tuple[float, float]:
    """Train on 600 digits; return the accuracy on clean images and the certified share at eps 0.1."""
    test, data = digits.test.take(slice(100)), digits.train.take(slice(600))
    images = test.pixels(slice(None))
    with seeding.isolated(1):
        network = StridedCNN().build(Shape(1, 28, 28, 10))
        objective.initialize(network, digits.train)
    config = TrainConfig(epochs=6, batch_size=20, optimizer=Adam(lr=5e-3), schedule=Triangle())
    compute = Compute(device="cpu", precision="fp32")
    train(network, objective, data, digits.validation, config=config, compute=compute, key=1)
    clean = float((network(images).argmax(dim=1) == test.labels).double().mean())
    return clean, float(IBP().certify(network, images, test.labels, Linf(eps=0.1)).double().mean())


def test_they_train_networks_about_which_intervals_prove_much(digits: Splits) -> None:
    assert shares(CrossEntropy(), digits)[1] == 0
    for name in NAMES:
        clean, certified = shares(make(name, **({"steps": 3} if name == "sabr" else {})), digits)
        assert clean > 0.85
        assert certified > 0.4


@pytest.mark.parametrize("name", NAMES)
def test_they_are_trained_in_bf16(name: str, digits: Splits) -> None:
    network = StridedCNN().build(Shape(1, 28, 28, 10))
    data = (digits.train.take(slice(60)), digits.validation.take(slice(20)))
    compute = Compute(device="cpu", precision="bf16")
    history = train(
        network, make(name), *data, config=TrainConfig(epochs=1, batch_size=20), compute=compute, key=1
    )
    assert history.epochs[0].keys() == {"train loss", "validation loss", "validation accuracy"}
