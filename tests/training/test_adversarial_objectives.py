"""Adversarial objectives: against closed forms, and against what they are for."""

import dataclasses
from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from robustlab.attacks import PGD, Attack
from robustlab.core import seeding
from robustlab.core.device import Compute
from robustlab.core.errors import SpecError
from robustlab.core.spec import parse, units
from robustlab.data import Splits
from robustlab.models import CNN, StridedCNN
from robustlab.models.base import Shape
from robustlab.threats import L2, Linf, as_threat
from robustlab.training import (
    Adam,
    AdversarialObjective,
    CrossEntropy,
    FGSMTraining,
    Objective,
    PGDTraining,
    Trades,
    TrainConfig,
    TrainingStep,
    Triangle,
    train,
)

ADVERSARIAL = [name for name, unit in units(Objective).items() if issubclass(unit, AdversarialObjective)]
NORMS = ("linf", "l2", "l1")
THREATS = ("linf(eps=0.1)", "l2(eps=0.7)", "l1(eps=3.0)")
SPECS = {
    "awp": "awp(objective=pgd_training(threat={threat}), warmup=0.0)",
    "eps_ramp": "eps_ramp(objective=pgd_training(threat={threat}), share=0.4)",
    "alternating": "alternating(first=pgd_training(threat={threat}), second=trades(threat={threat}))",
    "purifying": "purifying(objective=pgd_training(threat={threat}), weight=0.0)",
    "mixed": "mixed(threat={threat}, attack=pgd(steps=4, rel_step_size=0.5), fraction=1.0)",
}


def make(name: str, threat: str = "linf(eps=0.1)") -> AdversarialObjective:
    if name == "msd":  # has an eps for each norm
        norm, _, eps = threat.rstrip(")").partition("(eps=")
        objective = parse(Objective, f"msd({', '.join(f'{n}={eps * (n == norm) or 0}' for n in NORMS)})")
    else:
        objective = parse(Objective, SPECS.get(name, name + "(threat={threat})").format(threat=threat))
    assert isinstance(objective, AdversarialObjective)
    return objective


def step_on(network: nn.Module, n: int = 40, shape: tuple[int, int, int] = (1, 6, 6)) -> TrainingStep:
    ids = 500 + torch.arange(n)
    images = seeding.uniform(2, ids, shape)
    images[:, :, 0] = 0.0
    labels = (seeding.uniform(3, ids, (1,)).squeeze(1) * 3).long()
    return TrainingStep(
        network=network.train(), player="loss", images=images, labels=labels, ids=ids, progress=0.5, key=11
    )


class Flattened(nn.Module):
    """A small classifier with all that a search might leave a trace in; it notes how it is called."""

    def __init__(self, dropout: float = 0.3) -> None:
        super().__init__()
        with seeding.isolated(4):
            self.layers = nn.Sequential(
                nn.Flatten(),
                nn.Linear(36, 20),
                nn.BatchNorm1d(20),
                nn.ReLU(),
                nn.Dropout(dropout),
                nn.Linear(20, 3),
            )
        self.calls: list[tuple[bool, bool]] = []
        self.shown: list[Tensor] = []

    def forward(self, images: Tensor) -> Tensor:
        needs_gradient = next(iter(self.parameters())).requires_grad and torch.is_grad_enabled()
        self.calls.append((self.training, needs_gradient))
        self.shown.append(images.detach().clone())
        logits: Tensor = self.layers(images)
        return logits


def state(network: nn.Module) -> dict[str, Tensor]:
    return {name: tensor.clone() for name, tensor in network.state_dict().items()}


# Laws of all of them


@pytest.mark.parametrize("threat", THREATS)
@pytest.mark.parametrize("name", ADVERSARIAL)
def test_the_points_are_allowed_and_raise_the_loss(name: str, threat: str) -> None:
    network, objective = Flattened(dropout=0.0), make(name, threat)
    step = step_on(network)
    points = objective.perturbed(step)
    assert torch.equal(objective.perturbed(step), points)
    bound = as_threat(threat)
    assert (bound.distance(points, step.images) <= bound.eps * (1 + 1e-5) + 1e-6).all()
    assert points.min() >= 0
    assert points.max() <= 1
    network.train()
    before = F.cross_entropy(network(step.images), step.labels)
    after = F.cross_entropy(network(points), step.labels)
    assert after > before + 0.02
    other = objective.perturbed(dataclasses.replace(step, key=12))
    assert name == "msd" or not torch.equal(other, points)  # it draws nothing


@pytest.mark.parametrize("name", ADVERSARIAL)
def test_a_search_leaves_no_trace(name: str) -> None:
    network, objective = Flattened(), make(name)
    before, generator = state(network), torch.get_rng_state()
    objective.perturbed(step_on(network))
    assert torch.equal(torch.get_rng_state(), generator)
    assert all(torch.equal(tensor, before[key]) for key, tensor in network.state_dict().items())
    assert all(parameter.requires_grad and parameter.grad is None for parameter in network.parameters())
    assert all(module.training for module in network.modules())


@pytest.mark.parametrize(
    ("name", "mode"), [("pgd_training", True), ("fgsm_training", True), ("trades", False), ("mart", False)]
)
def test_the_mode_of_the_search_is_the_papers(name: str, mode: bool) -> None:
    network = Flattened()
    objective = make(name)
    objective.perturbed(step_on(network))
    passes = {"pgd_training": 10, "fgsm_training": 1, "trades": 11, "mart": 10}[name]
    assert network.calls == passes * [(mode, False)]
    network.calls.clear()
    objective.loss(step_on(network)).backward()  # type: ignore[no-untyped-call]
    assert network.calls[passes:] == [(True, True)] * (2 if name in {"trades", "mart"} else 1)


@pytest.mark.parametrize("name", ADVERSARIAL)
def test_the_validation_loss_is_the_clean_cross_entropy_without_an_attack(name: str) -> None:
    network = Flattened()
    step = dataclasses.replace(step_on(network), validating=True)
    network.eval()
    with torch.no_grad():
        found = make(name).loss(step)
    assert network.calls == [(False, False)]
    assert torch.equal(found, F.cross_entropy(network(step.images), step.labels))


@pytest.mark.parametrize("name", [name for name in ADVERSARIAL if name != "msd"])
def test_what_bounds_no_distance_is_refused(name: str) -> None:
    with pytest.raises(SpecError, match=r"threat|supports"):
        make(name, "unbounded")


@pytest.mark.parametrize("name", ADVERSARIAL)
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_it_is_trained_in_either_precision(name: str, precision: str, digits: Splits) -> None:
    network = StridedCNN().build(Shape(1, 28, 28, 10))
    data = (digits.train.take(slice(60)), digits.validation.take(slice(20)))
    compute = Compute(device="cpu", precision=precision)
    history = train(network, make(name), *data, config=TrainConfig(epochs=1), compute=compute, key=1)
    assert history.epochs[0].keys() == {"train loss", "validation loss", "validation accuracy"}


# What equals cross-entropy


def bits(objective: Objective, digits: Splits, compute: Compute) -> dict[str, Tensor]:
    with seeding.isolated(1):
        network = nn.Sequential(CNN(dropout=0.4).build(Shape(1, 28, 28, 10)), nn.BatchNorm1d(10))
    data = (digits.train.take(slice(100)), digits.validation.take(slice(40)))
    train(network, objective, *data, config=TrainConfig(epochs=2, batch_size=30), compute=compute, key=7)
    return state(network)


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize(
    "text",
    [
        "pgd_training(threat=linf(eps=0.0), attack=pgd(steps=2))",
        "pgd_training(threat=linf(eps=0.0), attack=pgd(steps=2, start=clean, loss=margin))",
        "pgd_training(threat=linf(eps=0.3), clean=1.0)",
        "fgsm_training(threat=linf(eps=0.0))",
        "trades(threat=linf(eps=0.3), beta=0.0)",
        "awp(objective=trades(threat=linf(eps=0.3), beta=0.0), gamma=0.0)",
        "awp(objective=fgsm_training(threat=linf(eps=0.0)), warmup=1.0)",
        "eps_ramp(objective=fgsm_training(threat=linf(eps=0.0)))",
        "purifying(objective=fgsm_training(threat=linf(eps=0.0)), weight=0.0)",
        "mixed(threat=linf(eps=0.3), fraction=0.0)",
        "mixed(threat=linf(eps=0.0), attack=pgd(steps=2), fraction=1.0)",
        "noise_training(std=0.0)",
    ],
)
def test_without_an_attack_it_is_cross_entropy_to_the_last_bit(
    text: str, precision: str, digits: Splits
) -> None:
    compute = Compute(device="cpu", precision=precision)
    found, plain = bits(parse(Objective, text), digits, compute), bits(CrossEntropy(), digits, compute)
    assert all(torch.equal(found[name], plain[name]) for name in plain)


# PGD training


def linear(make_linear: Callable[..., nn.Module]) -> tuple[nn.Module, TrainingStep, Tensor]:
    """A linear classifier of two classes, a step, and the sign of each pixel's pull towards the wrong one."""
    network = make_linear(classes=2, shape=(1, 6, 6), scale=0.3)
    step = step_on(network)
    step = dataclasses.replace(step, images=step.images * 0.4 + 0.3, labels=step.labels % 2)
    weight = next(iter(network.parameters())).detach()
    pull = torch.where((step.labels == 0)[:, None], weight[1] - weight[0], weight[0] - weight[1])
    return network, step, pull.sign().view_as(step.images)


def test_on_a_linear_classifier_pgd_is_the_worst_corner(make_linear: Callable[..., nn.Module]) -> None:
    network, step, pull = linear(make_linear)
    corner = step.images + 0.2 * pull
    loss = F.cross_entropy(network(corner), step.labels)
    clean = F.cross_entropy(network(step.images), step.labels)
    for attack in (
        PGD(steps=10, rel_step_size=0.25),
        PGD(steps=4, rel_step_size=0.5),
        PGD(steps=3, rel_step_size=0.5, start="clean"),
    ):
        objective = PGDTraining(threat=Linf(eps=0.2), attack=attack)
        torch.testing.assert_close(objective.perturbed(step), corner)
        torch.testing.assert_close(objective.loss(step), loss)
        mixed = dataclasses.replace(objective, clean=0.25)
        torch.testing.assert_close(mixed.loss(step), 0.75 * loss + 0.25 * clean)


@pytest.mark.parametrize("loss", ["cross_entropy", "margin", "dlr"])
def test_the_search_is_that_of_the_attack(loss: str) -> None:
    # Attack.run draws its start under its own key: from the clean image both go the same way.
    network = Flattened(dropout=0.0).eval()
    network.layers[2] = nn.Identity()
    step = step_on(network)
    attack = parse(Attack, f"pgd(steps=5, rel_step_size=0.3, start=clean, loss={loss})")
    objective = PGDTraining(threat=L2(eps=0.8), attack=attack)
    found = objective.perturbed(step)
    network.eval()
    result = attack.run(network, step.images, step.labels, L2(eps=0.8), early_stop=False)
    # The attack returns the best of its points and the objective the last: on most images that is the same.
    same = (result.images - found).flatten(1).abs().amax(dim=1) < 1e-5
    assert same.double().mean() > 0.6


@pytest.mark.parametrize(
    "attack", ["apgd", "pgd(restarts=2)", "pgd(start=corner)", "restarts(attack=pgd)", "fgsm(gradient=eot())"]
)
def test_an_attack_that_it_has_no_search_for_is_refused(attack: str) -> None:
    with pytest.raises(SpecError, match="attack must"):
        parse(Objective, f"pgd_training(threat=linf(eps=0.1), attack={attack})")


# FGSM training


def test_one_step_from_a_start_that_may_leave_the_box(make_linear: Callable[..., nn.Module]) -> None:
    network, step, pull = linear(make_linear)
    dark = dataclasses.replace(step, images=step.images * 0.0)
    objective = FGSMTraining(threat=Linf(eps=0.3), rel_step_size=0.5)
    start = objective.start(dark)
    assert -0.3 <= float(start.min()) < -0.29
    assert 0.29 < float(start.max()) <= 0.3
    assert float(start.mean()) == pytest.approx(0.0, abs=0.02)
    expected = (start + 0.15 * pull).clamp(-0.3, 0.3).clamp(0, 1)
    torch.testing.assert_close(objective.perturbed(dark), expected)
    loss = F.cross_entropy(network(expected), step.labels)
    torch.testing.assert_close(objective.loss(dark), loss)


# TRADES


def test_the_loss_of_trades_is_the_papers() -> None:
    network = Flattened(dropout=0.0)
    network.layers[2] = nn.Identity()
    step = step_on(network)
    objective = Trades(threat=Linf(eps=0.1), beta=3.0)
    points = objective.perturbed(step)
    with torch.no_grad():
        p = network(step.images).double().softmax(dim=1)
        q = network(points).double().softmax(dim=1)
    divergence = (p * (p.log() - q.log())).sum(dim=1).mean()
    expected = F.nll_loss(p.log(), step.labels) + 3.0 * divergence
    assert objective.loss(step).item() == pytest.approx(expected.item(), rel=1e-5)
    nearer = dataclasses.replace(objective, steps=1, rel_step_size=0.01).perturbed(step)
    with torch.no_grad():
        q = network(nearer).double().softmax(dim=1)
    assert (p * (p.log() - q.log())).sum(dim=1).mean() < divergence / 10


def test_its_gradient_flows_through_both_answers() -> None:
    network = Flattened(dropout=0.0)
    network.layers[2] = nn.Identity()
    step, objective = step_on(network), Trades(threat=Linf(eps=0.1), beta=3.0)
    points = objective.perturbed(step)
    objective.loss(step).backward()  # type: ignore[no-untyped-call]
    found = [parameter.grad for parameter in network.parameters()]
    natural, moved = network(step.images).log_softmax(dim=1), network(points).log_softmax(dim=1)
    loss = F.nll_loss(natural, step.labels)
    loss = loss + 3.0 * (natural.exp() * (natural - moved)).sum(dim=1).mean()
    for one, other in zip(found, torch.autograd.grad(loss, list(network.parameters())), strict=True):
        assert one is not None
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-6)


def test_its_search_begins_near_the_clean_image() -> None:
    network = Flattened()
    step = step_on(network)
    Trades(threat=Linf(eps=0.1)).perturbed(step)
    clean, first = network.shown[:2]
    assert torch.equal(clean, step.images)
    assert (first - clean).std().item() == pytest.approx(1e-3, rel=0.1)


# What they are for


def accuracies(objective: Objective, digits: Splits) -> tuple[float, float]:
    """Train on 600 digits; return the accuracy on clean images and under PGD."""
    test, data = digits.test.take(slice(200)), digits.train.take(slice(600))
    images = test.pixels(slice(None))
    with seeding.isolated(1):
        network = StridedCNN().build(Shape(1, 28, 28, 10))
    config = TrainConfig(epochs=6, batch_size=20, optimizer=Adam(lr=5e-3), schedule=Triangle())
    compute = Compute(device="cpu", precision="fp32")
    train(network, objective, data, digits.validation, config=config, compute=compute, key=1)
    attacked = PGD(steps=20).run(network, images, test.labels, Linf(eps=0.1)).predictions
    clean, robust = (
        float((found == test.labels).double().mean()) for found in (network(images).argmax(dim=1), attacked)
    )
    return clean, robust


@pytest.fixture(scope="module")
def undefended(digits: Splits) -> float:
    return accuracies(CrossEntropy(), digits)[1]


@pytest.mark.parametrize(
    "text",
    [
        "pgd_training(threat=linf(eps=0.1), attack=pgd(steps=4, rel_step_size=0.5))",
        "trades(threat=linf(eps=0.1), steps=3, rel_step_size=0.5)",
        "fgsm_training(threat=linf(eps=0.1))",
        "mart(threat=linf(eps=0.1), steps=3, rel_step_size=0.5)",
        "awp(objective=trades(threat=linf(eps=0.1), steps=3, rel_step_size=0.5), gamma=0.003)",
        "msd(linf=0.1, l2=0.5, l1=2.0, steps=3, rel_step_size=0.5)",
        "eps_ramp(objective=mart(threat=linf(eps=0.1), steps=3, rel_step_size=0.5))",
        "mixed(threat=linf(eps=0.1), attack=pgd(steps=3, rel_step_size=0.5), fraction=0.5)",
        "alternating(first=fgsm_training(threat=linf(eps=0.1)), second=fgsm_training(threat=l1(eps=2)))",
    ],
)
def test_it_beats_plain_training_under_pgd(text: str, digits: Splits, undefended: float) -> None:
    clean, robust = accuracies(parse(Objective, text), digits)
    assert robust > undefended + 0.2
    assert clean > 0.85
