"""Linear bounds: no point of the threat model lies outside them, and simple networks are bounded exactly."""

import itertools
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from random_networks import Case, Residual, cases, points, randomize
from scipy.optimize import LinearConstraint, linprog, milp
from test_rules import FUNCTIONS, bounds_and_points
from torch import Tensor, nn

from robustlab.certify import CROWN, CROWNIBP, IBP, AlphaCROWN, AutoCertifier, rounding
from robustlab.certify.backward import Tape, lower_bounds
from robustlab.certify.crown import with_small_layers
from robustlab.certify.interval import Interval, NoRuleError
from robustlab.certify.region import region
from robustlab.certify.tightening import WorkCounter
from robustlab.core import seeding
from robustlab.threats import L2, Linf, ThreatModel

MIXING = ["views", "cat and stack"]
"""Functions of test_rules.py that move the images out of the first dimension."""

BOXES: list[ThreatModel] = [Linf(eps=0.001), Linf(eps=0.03), Linf(eps=0.3), Linf(eps=1.0)]


def apart(model: nn.Module, images: Tensor, labels: Tensor) -> Tensor:
    """Return how far the label's logit lies above each other one; infinite at the label."""
    with torch.no_grad():
        logits: Tensor = model(images).double()
    here = labels[:, None]
    return (logits.gather(1, here) - logits).scatter(1, here, torch.inf)


@given(case=cases(), threat=st.sampled_from(BOXES))
def test_no_point_lies_outside_the_bounds(case: Case, threat: ThreatModel) -> None:
    certifiers = (CROWNIBP(), CROWN(), AlphaCROWN(steps=3))
    coarse, fine, finest = (c.margins(case.model, case.images, case.labels, threat) for c in certifiers)
    assert (fine >= coarse).all()
    # The bounds of several rows at once may be rounded otherwise.
    assert (finest >= fine.where(fine.isinf(), fine - 1e-9 * (1 + fine.abs()))).all()
    for point in points(case, threat, 4):
        assert (apart(case.model, point, case.labels) >= finest).all()


def network(kind: str) -> nn.Module:
    """Return a tiny network of (1, 4, 4) images and 3 classes."""
    activations: dict[str, Any] = {"sigmoid": nn.Sigmoid, "tanh": nn.Tanh, "leaky": lambda: nn.LeakyReLU(0.2)}
    activation = activations.get(kind, nn.ReLU)
    with seeding.isolated(7):
        front = {
            "pool": [nn.Conv2d(1, 4, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)],
            "pool first": [nn.Conv2d(1, 4, 3, padding=1), nn.MaxPool2d(3, 1, 1), nn.ReLU(), nn.AvgPool2d(2)],
            "residual": [nn.Conv2d(1, 4, 2, 2), Residual(4, concatenate=False, in_place=True), nn.ReLU()],
        }.get(kind, [nn.Conv2d(1, 4, 2, 2), nn.BatchNorm2d(4), activation()])
        model = nn.Sequential(
            *front,
            nn.Flatten(),
            nn.Linear(16, 8),
            activation(),
            nn.Linear(8, 6),
            activation(),
            nn.Linear(6, 3),
        )
        randomize(model)
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.mul_(1.5)
    return model.eval()


@pytest.mark.parametrize("kind", ["relu", "leaky", "sigmoid", "tanh", "pool", "pool first", "residual"])
def test_none_of_10000_points_lies_outside_and_crown_is_tighter(kind: str) -> None:
    model, images = network(kind), seeding.uniform(3, torch.arange(3), (1, 4, 4))
    threat = Linf(eps=0.1)
    with torch.no_grad():
        labels = model(images).argmax(dim=1)
    certifiers = (IBP(), CROWNIBP(), CROWN(), AlphaCROWN())
    interval, coarse, fine, finest = (c.margins(model, images, labels, threat) for c in certifiers)
    worst = torch.full_like(fine, torch.inf)
    for image, label, row in zip(images, labels, worst, strict=True):
        ids = torch.arange(5000)
        clean = image.expand(5000, -1, -1, -1)
        inside = threat.random_start(clean, 5, ids)
        corners = threat.project(threat.ascend(clean, seeding.normal(6, ids, (1, 4, 4)), 1.0), clean)
        row.copy_(apart(model, torch.cat([inside, corners]), label.expand(10000)).amin(dim=0))
    assert (worst >= finest).all()
    others = torch.arange(3) != labels[:, None]

    def gap(bounds: Tensor) -> float:
        return float((worst - bounds)[others].mean())

    assert gap(finest) <= gap(fine) <= gap(coarse) + 1e-9
    # The bounds are of use: much tighter than intervals.
    assert gap(fine) < 0.7 * gap(interval)


@pytest.mark.parametrize("width", [0.0, 1e-4, 0.2, 2.0])
@pytest.mark.parametrize("name", [name for name in FUNCTIONS if name not in MIXING])
def test_lines_of_each_function_hold(name: str, width: float) -> None:
    interval, points = bounds_and_points(width)
    function = FUNCTIONS[name]
    result = function(Tape().start(interval))
    assert isinstance(result, Interval)
    assert result.node is not None
    shape = (4, *result.shape)
    rows = seeding.normal(9, torch.arange(shape[0]), shape[1:]).double()
    found = lower_bounds(result.node, rows, both=True)
    for point in points:
        values = (rows * function(point.clone()).double()).flatten(2).sum(dim=2)
        assert (values >= found[:4]).all()
        assert (-values >= found[4:]).all()
    if width == 0:
        middle = (rows * function(points[0].clone()).double()).flatten(2).sum(dim=2)
        assert (middle - found[:4]).max() <= 1e-2


@pytest.mark.parametrize("activation", [nn.ReLU(), nn.ReLU6(), nn.Sigmoid()], ids=repr)
def test_work_counts_layers_before_functions_with_and_without_lines(activation: nn.Module) -> None:
    layers = [nn.Flatten(), nn.Linear(16, 9), activation, nn.Linear(9, 7), activation, nn.Linear(7, 3)]
    counter = WorkCounter()
    pixels = region(torch.rand(1, 1, 4, 4), Linf(eps=0.1), torch.float64)
    with torch.no_grad():
        nn.Sequential(*layers)(Tape(counter.tighten).start(pixels))
    # From 7 neurons back: themselves, 9 activations, and, if these have lines, 9 neurons and 16 pixels twice.
    behind = 7 + 9 + (0 if isinstance(activation, nn.ReLU6) else 9 + 16 + 16)
    assert counter.work == 7 * behind


def test_results_of_one_number_for_each_image_are_bounded() -> None:
    class Middle(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            middle = torch.relu(x.mean(dim=(1, 2, 3)) - 0.5)
            return torch.stack([middle, 0.1 - middle], dim=1)

    images, labels = (
        torch.tensor([0.2, 0.55, 0.9]).view(3, 1, 1, 1).expand(3, 1, 2, 2),
        torch.tensor([1, 1, 0]),
    )
    for certifier in (CROWNIBP(), CROWN()):
        proven = certifier.certify(Middle().eval(), images, labels, Linf(eps=0.1))
        assert proven.tolist() == [True, False, True]


@pytest.mark.parametrize("name", MIXING)
def test_images_out_of_the_first_dimension_are_refused(name: str) -> None:
    interval, _ = bounds_and_points(0.2)
    with pytest.raises(NoRuleError, match="moves the images"):
        FUNCTIONS[name](Tape().start(interval))


def test_images_that_trade_places_with_another_dimension_are_refused() -> None:
    pixels = Tape().start(Interval(torch.zeros(4, 4).double(), torch.ones(4, 4).double()))
    with pytest.raises(NoRuleError, match="transpose moves the images"):
        pixels.transpose(0, 1)


@st.composite
def dense(draw: st.DrawFn) -> tuple[nn.Sequential, Tensor, Tensor, float]:
    """Draw a dense network with one or two layers of rectifiers, and two images."""
    widths = draw(st.sampled_from([(4,), (3, 3), (4, 4)]))
    with seeding.isolated(draw(st.integers(0, 10**6))):
        sizes = (4, *widths, 3)
        layers = [[nn.Linear(a, b), nn.ReLU()] for a, b in itertools.pairwise(sizes)]
        model = nn.Sequential(nn.Flatten(), *itertools.chain(*layers))[:-1].eval()
        images = torch.rand(2, 1, 2, 2)
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.mul_(2)
            labels = model(images).argmax(dim=1)
    return model, images, labels, draw(st.sampled_from([0.02, 0.1, 0.4]))


def least_margin(model: nn.Sequential, lower: Any, upper: Any, label: int, other: int) -> float:
    """Return the exact least margin over a box: the least linear programme of all patterns of rectifiers."""
    linear = [layer for layer in model if isinstance(layer, nn.Linear)]
    layers = [(m.weight.detach().double().numpy(), m.bias.detach().double().numpy()) for m in linear]
    hidden = [len(bias) for _, bias in layers[:-1]]
    best = np.inf
    for pattern in itertools.product((0, 1), repeat=sum(hidden)):
        matrix, offset, rows, limits, start = np.eye(4), np.zeros(4), [], [], 0
        for weight, bias in layers[:-1]:
            active = np.array(pattern[start : start + len(bias)])
            start += len(bias)
            matrix, offset = weight @ matrix, weight @ offset + bias
            sign = np.where(active == 1, -1.0, 1.0)
            rows.append(sign[:, None] * matrix)
            limits.append(-sign * offset)
            matrix, offset = active[:, None] * matrix, active * offset
        weight, bias = layers[-1]
        cost, constant = weight[label] - weight[other], bias[label] - bias[other]
        found = linprog(
            cost @ matrix,
            A_ub=np.concatenate(rows),
            b_ub=np.concatenate(limits),
            bounds=list(zip(lower, upper, strict=True)),
        )
        if found.status == 0:
            best = min(best, found.fun + cost @ offset + constant)
    return float(best)


@settings(max_examples=8)
@given(drawn=dense())
def test_the_exact_least_margin_is_above_the_bounds_and_below_every_point(drawn: Any) -> None:
    model, images, labels, eps = drawn
    threat = Linf(eps=eps)
    with torch.no_grad():
        pixels = region(images, threat, torch.float64)
        coarse, fine, finest = (
            c.margins(model, images, labels, threat) for c in (CROWNIBP(), CROWN(), AlphaCROWN())
        )
    assert (finest >= fine - 1e-9).all()
    assert (fine >= coarse).all()
    bounds = pixels.lower.flatten(1).numpy(), pixels.upper.flatten(1).numpy()
    for image, label in enumerate(labels.tolist()):
        other = (label + 1) % 3
        exact = least_margin(model, bounds[0][image], bounds[1][image], label, other)
        assert float(finest[image, other]) <= exact + 1e-7
        case = Case(model=model, images=images, labels=labels)
        assert all(apart(model, p, labels)[image, other] >= exact - 1e-5 for p in points(case, threat, 3))


def test_the_patterns_give_what_integer_programming_gives() -> None:
    """The oracle above against the usual model of rectifiers with integers (Tjeng et al. 2019)."""
    with seeding.isolated(1):
        first, second = nn.Linear(4, 5), nn.Linear(5, 3)
    model = nn.Sequential(nn.Flatten(), first, nn.ReLU(), second).eval()
    weight, bias = (t.detach().double().numpy() for t in (first.weight, first.bias))
    last, offset = (t.detach().double().numpy() for t in (second.weight, second.bias))
    big = 10.0
    # Variables: pixels, activations, whether they are active.
    cost = np.concatenate([np.zeros(4), last[0] - last[1], np.zeros(5)])
    eye, zero = np.eye(5), np.zeros((5, 5))
    limits = [
        LinearConstraint(np.hstack([-weight, eye, zero]), lb=bias),
        LinearConstraint(np.hstack([-weight, eye, big * eye]), ub=bias + big),
        LinearConstraint(np.hstack([np.zeros((5, 4)), eye, -big * eye]), ub=0.0),
    ]
    ends = (
        np.concatenate([np.full(4, 0.2), np.zeros(10)]),
        np.concatenate([np.full(4, 0.9), np.full(5, big), np.ones(5)]),
    )
    integers = np.concatenate([np.zeros(9), np.ones(5)])
    found = milp(cost, constraints=limits, bounds=ends, integrality=integers)
    expected = least_margin(model, ends[0][:4], ends[1][:4], 0, 1)
    assert found.fun + offset[0] - offset[1] == pytest.approx(expected, abs=1e-6)


def test_a_linear_network_and_a_settled_one_are_bounded_exactly() -> None:
    with seeding.isolated(3):
        first, second = nn.Linear(16, 6), nn.Linear(6, 3)
    model = nn.Sequential(nn.Flatten(), first, nn.ReLU(), second).eval()
    with torch.no_grad():
        first.bias.add_(10.0)  # every rectifier is active
    images, labels = seeding.uniform(1, torch.arange(4), (1, 4, 4)), torch.arange(4) % 3
    weight = (second.weight @ first.weight).double()
    slopes = weight[labels][:, None] - weight
    box = region(images, Linf(eps=0.2), torch.float64)
    ends = torch.where(slopes > 0, box.lower.flatten(1)[:, None], box.upper.flatten(1)[:, None])
    offset = (second(first.bias)).double()
    expected = (slopes * ends).sum(dim=2) + offset[labels][:, None] - offset
    others = torch.arange(3) != labels[:, None]
    for certifier in (CROWNIBP(), CROWN()):
        found = certifier.margins(model, images, labels, Linf(eps=0.2))
        assert torch.allclose(found[others], expected[others], atol=1e-3)
        assert (found[others] <= expected[others] + 1e-6).all()


def test_float32_rounding_is_allowed_for(monkeypatch: pytest.MonkeyPatch) -> None:
    with seeding.isolated(5):
        model = nn.Sequential(nn.Flatten(), nn.Linear(4096, 40), nn.ReLU(), nn.Linear(40, 40)).eval()
        images = torch.rand(20, 1, 64, 64)
    flat = images.double()

    def escaped() -> int:
        with torch.no_grad():
            logits = model(images)
            bounds = model(Tape().start(Interval(flat, flat)))
            rows = torch.eye(40).double()[:, None].expand(40, 20, 40)
            found = lower_bounds(bounds.node, rows, both=True)
        values = logits.T.double()
        return int(((values < found[:40]) | (-values < found[40:])).sum())

    assert escaped() == 0
    monkeypatch.setitem(rounding._UNIT, torch.float64, 0.0)
    assert escaped() > 0  # so the test above can fail


def test_only_open_rectifiers_are_counted_and_memory_bounds_the_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    model, images = network("relu"), seeding.uniform(3, torch.arange(5), (1, 4, 4))
    with torch.no_grad():
        labels = model(images).argmax(dim=1)
    threat = Linf(eps=0.02)
    whole = CROWN().margins(model, images, labels, threat)
    proofs = CROWN().proofs(model, images, labels, Linf(eps=0.3))
    assert proofs.backwards.max() <= 14 + 2 + 2
    assert proofs.backwards.max() > 4
    asked: list[int] = []
    original = lower_bounds

    def counted(node: Any, rows: Tensor, **options: Any) -> Tensor:
        asked.append(len(rows))
        return original(node, rows, **options)

    monkeypatch.setattr("robustlab.certify.tightening.MEMORY", 1)
    monkeypatch.setattr("robustlab.certify.tightening.lower_bounds", counted)
    assert torch.allclose(CROWN().margins(model, images, labels, threat), whole, atol=1e-9)
    assert max(asked) == 1


def test_small_layers_first_save_passes_and_lose_no_proof(monkeypatch: pytest.MonkeyPatch) -> None:
    # Of its layers one has 8 values and one 6.
    model, images = network("relu"), seeding.uniform(3, torch.arange(60), (1, 4, 4))
    with torch.no_grad():
        labels = model(images).argmax(dim=1)
    threat = Linf(eps=0.1)
    coarse = CROWNIBP().certify(model, images, labels, threat)
    for certifier in (CROWN(), AlphaCROWN(steps=3)):
        proofs = []
        for small in (0, 6):
            monkeypatch.setattr("robustlab.certify.crown._SMALL", small)
            proofs.append(certifier.proofs(model, images, labels, threat))
        assert torch.equal(proofs[0].certified, proofs[1].certified)
        between = with_small_layers(model, images, labels, threat).proven & ~coarse
        assert between.any()
        assert (proofs[1].backwards[between] < proofs[0].backwards[between]).all()


def test_auto_proves_what_its_parts_prove_and_skips_what_takes_long() -> None:
    model, images = network("relu"), seeding.uniform(3, torch.arange(40), (1, 4, 4))
    with torch.no_grad():
        labels = model(images).argmax(dim=1)
    threat = Linf(eps=0.03)
    parts = [c.certify(model, images, labels, threat) for c in (IBP(), CROWNIBP(), CROWN())]
    assert parts[2].sum() > parts[0].sum()
    assert torch.equal(AutoCertifier().certify(model, images, labels, threat), parts[0] | parts[2])
    skipping = AutoCertifier(work=0.0, hope=1e9).certify(model, images, labels, threat)
    assert torch.equal(skipping, parts[0] | parts[1])
    cheapest = AutoCertifier(work=0.0, hope=0.0).proofs(model, images, labels, threat)
    assert torch.equal(cheapest.certified, parts[0])
    assert not cheapest.backwards.any()
    ball = L2(eps=0.05)
    assert torch.equal(
        AutoCertifier().certify(model, images, labels, ball), IBP().certify(model, images, labels, ball)
    )
