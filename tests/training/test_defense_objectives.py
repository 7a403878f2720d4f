"""MART, weight perturbation, several norms, mixed batches and noise: against closed forms."""

import dataclasses
import functools
import math
from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from robustlab.attacks import FGSM, PGD
from robustlab.core import seeding
from robustlab.core.errors import SpecError
from robustlab.core.spec import parse
from robustlab.threats import L1, L2, Linf
from robustlab.training import (
    AWP,
    MSD,
    Alternating,
    Consistency,
    FGSMTraining,
    Mart,
    Mixed,
    NoiseTraining,
    Objective,
    PGDTraining,
    Trades,
    TrainingStep,
)
from robustlab.training.objectives.alternating import inner_step
from robustlab.training.objectives.mart import boosted_cross_entropy

SHAPE = (1, 4, 4)


def network_of(seed: int = 1, norm: bool = False) -> nn.Sequential:
    with seeding.isolated(seed):
        middle = nn.BatchNorm1d(12) if norm else nn.Identity()
        return nn.Sequential(nn.Flatten(), nn.Linear(16, 12), middle, nn.Tanh(), nn.Linear(12, 3))


def step_on(network: nn.Module, n: int = 20) -> TrainingStep:
    ids = 300 + torch.arange(n)
    images = seeding.uniform(2, ids, SHAPE)
    labels = (seeding.uniform(3, ids, (1,)).squeeze(1) * 3).long()
    return TrainingStep(
        network=network.train(), player="loss", images=images, labels=labels, ids=ids, progress=0.5, key=11
    )


def gradients(network: nn.Module, loss: Tensor) -> list[Tensor]:
    return list(torch.autograd.grad(loss, list(network.parameters())))


# MART


class Fixed(nn.Module):
    """Answers the clean images and the moved ones, whose pixels are 1, with fixed probabilities."""

    def __init__(self, clean: list[float], moved: list[float]) -> None:
        super().__init__()
        self.clean, self.moved = torch.tensor(clean).log(), torch.tensor(moved).log()

    def forward(self, images: Tensor) -> Tensor:
        there = (images.flatten(1).amax(dim=1) == 1)[:, None]
        return torch.where(there, self.moved, self.clean)


def test_the_loss_of_mart_is_the_papers_on_probabilities_by_hand() -> None:
    images = torch.zeros(1, *SHAPE)
    step = dataclasses.replace(
        step_on(nn.Identity(), 1), network=Fixed([0.7, 0.2, 0.1], [0.3, 0.6, 0.1]), images=images
    )
    step = dataclasses.replace(step, labels=torch.tensor([0]))
    boosted = -math.log(0.3) - math.log(1 - 0.6)
    divergence = 0.7 * math.log(0.7 / 0.3) + 0.2 * math.log(0.2 / 0.6)
    for beta in (0.0, 5.0):
        found = Mart(threat=Linf(eps=0.1), beta=beta).loss_at(step, torch.ones(1, *SHAPE))
        assert float(found) == pytest.approx(boosted + beta * divergence * (1 - 0.7), rel=1e-5)


def test_the_boosted_cross_entropy_is_finite_where_the_rival_is_certain() -> None:
    logits = torch.tensor([[0.0, 80.0, -5.0]], requires_grad=True)
    loss = boosted_cross_entropy(logits.log_softmax(dim=1), torch.tensor([0]))
    loss.sum().backward()  # type: ignore[no-untyped-call]
    assert float(loss.detach()) == pytest.approx(160, rel=1e-2)
    assert logits.grad is not None
    assert torch.isfinite(logits.grad).all()


def test_the_gradients_equal_finite_differences(monkeypatch: pytest.MonkeyPatch) -> None:
    # Losses are computed in float32, whose rounding a short step would magnify.
    monkeypatch.setattr(torch.Tensor, "float", torch.Tensor.double)
    network = network_of().double()
    step = step_on(network, 6)
    points = (step.images + 0.1).clamp(max=1).double()
    step = dataclasses.replace(step, images=step.images.double())
    for objective in (Mart(threat=Linf(eps=0.1)), Trades(threat=Linf(eps=0.1))):
        weight = dict(network.named_parameters())["1.weight"]
        (gradient,) = torch.autograd.grad(objective.loss_at(step, points), weight)
        for place in ((0, 0), (3, 7), (11, 15)):
            losses = []
            for change in (1e-6, -1e-6):
                with torch.no_grad():
                    weight[place] += change
                    losses.append(float(objective.loss_at(step, points)))
                    weight[place] -= change
            slope = (losses[0] - losses[1]) / 2e-6
            assert float(gradient[place]) == pytest.approx(slope, rel=1e-4, abs=1e-8)


# Weight perturbation


def test_each_matrix_moves_by_a_share_of_its_norm_to_where_the_loss_is_higher() -> None:
    network = network_of()
    step, inner = step_on(network), FGSMTraining(threat=Linf(eps=0.1))
    objective = AWP(objective=inner, gamma=0.02, warmup=0.0)
    points = objective.perturbed(step)
    moves = objective.moves(step, points)
    weights = dict(network.named_parameters())
    assert moves.keys() == {"1.weight", "4.weight"}
    for name, move in moves.items():
        assert float(move.norm() / weights[name].detach().norm()) == pytest.approx(0.02, rel=1e-4)
    before = inner.loss_at(step, points)
    assert objective.loss_at(step, points) > before + 0.01
    with torch.no_grad():
        for name, move in moves.items():
            weights[name].add_(move)
    expected = inner.loss_at(step, points)
    slopes = gradients(network, expected)
    with torch.no_grad():
        for name, move in moves.items():
            weights[name].sub_(move)
    found = objective.loss_at(step, points)
    assert float(found.detach()) == pytest.approx(float(expected.detach()), rel=1e-5)
    # The step is taken from the weights themselves, by the gradient at the moved ones.
    for one, other in zip(gradients(network, found), slopes, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-3, atol=1e-6)


def test_the_move_of_the_weights_leaves_no_trace() -> None:
    plain, moved = network_of(norm=True), network_of(norm=True)
    inner = FGSMTraining(threat=Linf(eps=0.1))
    inner.loss(step_on(plain))
    AWP(objective=inner, gamma=1e-9, warmup=0.0).loss(step_on(moved))
    for one, other in zip(plain.state_dict().values(), moved.state_dict().values(), strict=True):
        torch.testing.assert_close(one, other)
    assert all(parameter.requires_grad and parameter.grad is None for parameter in moved.parameters())


@pytest.mark.parametrize(
    ("text", "half"),
    [
        ("trades(threat=linf(eps=0.2), steps=2)", "trades(threat=linf(eps=0.1), steps=2)"),
        ("msd(linf=0.2, l2=1.0, l1=8.0, steps=2)", "msd(linf=0.1, l2=0.5, l1=4.0, steps=2)"),
        ("awp(objective=mart(threat=l2(eps=1.0)))", "awp(objective=mart(threat=l2(eps=0.5)))"),
        (
            "alternating(first=trades(threat=l2(eps=1.0)), second=mart(threat=l1(eps=4.0)))",
            "alternating(first=trades(threat=l2(eps=0.5)), second=mart(threat=l1(eps=2.0)))",
        ),
    ],
)
def test_eps_rises_to_its_full_value(text: str, half: str) -> None:
    network = network_of()
    step = dataclasses.replace(step_on(network), progress=0.4)
    for share, expected in ((0.8, half), (0.4, text), (0.2, text)):
        found = parse(Objective, f"eps_ramp(objective={text}, share={share})").loss(step)
        assert torch.equal(found, parse(Objective, expected).loss(step)), share


@pytest.mark.parametrize("text", ["cross_entropy()", "eps_ramp(objective=mart(threat=linf(eps=0.1)))"])
def test_a_ramp_needs_an_objective_that_attacks(text: str) -> None:
    with pytest.raises(SpecError, match="objective"):
        parse(Objective, f"eps_ramp(objective={text})")


def test_the_weights_stay_during_the_warmup() -> None:
    network, inner = network_of(), PGDTraining(threat=Linf(eps=0.1), attack=PGD(steps=2))
    step = step_on(network)
    expected, objective = inner.loss(step), AWP(objective=inner, warmup=0.6)
    assert torch.equal(objective.loss(step), expected)
    assert objective.loss(dataclasses.replace(step, progress=0.7)) > expected


# Several norms


def test_with_one_norm_it_is_pgd_from_the_clean_image() -> None:
    network = network_of()
    step = step_on(network)
    for threat, spec in (
        (Linf(eps=0.1), "msd(linf=0.1, l2=0, l1=0, steps=3)"),
        (L2(eps=0.5), "msd(linf=0, l2=0.5, l1=0, steps=3)"),
    ):
        attack = PGD(steps=3, rel_step_size=0.25, start="clean")
        found = parse(Objective, spec).perturbed(step)  # type: ignore[attr-defined]
        torch.testing.assert_close(found, PGDTraining(threat=threat, attack=attack).perturbed(step))


def test_each_image_gets_the_worst_of_the_steps_in_each_norm() -> None:
    network = network_of()
    step = step_on(network)
    balls = {"linf": 0.1, "l2": 0.4, "l1": 1.5}
    alone = [
        MSD(**dict.fromkeys(balls, 0.0) | {norm: eps}, steps=1).perturbed(step) for norm, eps in balls.items()
    ]
    losses = torch.stack([F.cross_entropy(network(p), step.labels, reduction="none") for p in alone])
    chosen = losses.argmax(dim=0)
    assert len(set(chosen.tolist())) > 1
    expected = torch.stack(alone)[chosen, torch.arange(len(chosen))]
    torch.testing.assert_close(MSD(**balls, steps=1).perturbed(step), expected)


def test_the_points_lie_in_the_union_of_the_balls() -> None:
    network = network_of()
    step, objective = step_on(network), MSD(linf=0.1, l2=0.5, l1=1.5, steps=6)
    points = objective.perturbed(step)
    inside = torch.zeros(len(points), dtype=torch.bool)
    for threat in (Linf(eps=0.1), L2(eps=0.5), L1(eps=1.5)):
        inside |= threat.distance(points, step.images) <= threat.eps * (1 + 1e-4)
    assert inside.all()
    alone = MSD(linf=0.1, l2=0, l1=0, steps=6)
    assert objective.loss_at(step, points) > alone.loss(step)


# Mixed batches


@pytest.mark.parametrize(("fraction", "number"), [(0.0, 0), (0.3, 6), (0.5, 10), (1.0, 20)])
def test_the_share_of_attacked_images_is_kept(fraction: float, number: int) -> None:
    network = network_of()
    step = step_on(network)
    objective = Mixed(threat=Linf(eps=0.1), fraction=fraction)
    points = objective.perturbed(step)
    moved = (points != step.images).flatten(1).any(dim=1)
    assert int(moved.sum()) == number
    whole = dataclasses.replace(objective, fraction=1.0).perturbed(step)
    torch.testing.assert_close(points[moved], whole[moved])
    others = objective.perturbed(dataclasses.replace(step, key=12))
    again = (others != step.images).flatten(1).any(dim=1)
    assert torch.equal(again, moved) == (fraction in {0.0, 1.0})


def test_its_fgsm_is_the_attack(make_linear: Callable[..., nn.Module]) -> None:
    network = make_linear(classes=3, shape=SHAPE)
    step = step_on(network)
    found = Mixed(threat=Linf(eps=0.2), fraction=1.0).perturbed(step)
    network.eval()
    expected = FGSM().run(network, step.images, step.labels, Linf(eps=0.2), early_stop=False).images
    correct = network(step.images).argmax(dim=1) == step.labels
    torch.testing.assert_close(found[correct], expected[correct])


# Noise


def test_the_noise_has_its_std_and_is_not_clipped() -> None:
    seen: list[Tensor] = []
    network = network_of()
    network.register_forward_pre_hook(lambda _, given: seen.append(given[0]))
    step, objective = step_on(network, 400), NoiseTraining(std=0.25)
    loss = objective.loss(step)
    noise = seen[0] - step.images
    assert float(noise.std()) == pytest.approx(0.25, rel=0.02)
    assert float(noise.mean()) == pytest.approx(0.0, abs=0.01)
    assert float(seen[0].detach().min()) < -0.2
    torch.testing.assert_close(loss, F.cross_entropy(network(seen[0]), step.labels))


@pytest.mark.parametrize("copies", [2, 3])
def test_consistency_is_the_papers_loss(copies: int) -> None:
    network = network_of()
    seen: list[Tensor] = []
    network.register_forward_pre_hook(lambda _, given: seen.append(given[0]))
    step = step_on(network, 200)
    loss = Consistency(std=0.3, copies=copies, weight=7.0, entropy=0.4).loss(step)
    parts = seen[0].view(copies, *step.images.shape)
    assert float((parts - step.images).std()) == pytest.approx(0.3, rel=0.03)
    assert not torch.equal(parts[0], parts[1])
    probabilities = torch.stack([network(part).softmax(dim=1) for part in parts])
    mean = probabilities.mean(dim=0)
    expected = torch.stack([F.nll_loss(each.log(), step.labels) for each in probabilities]).mean()
    # torch's divergence is that of its second argument from its first.
    divergences = [F.kl_div(each.log(), mean, reduction="batchmean") for each in probabilities]
    expected = expected + 7.0 * torch.stack(divergences).mean()
    expected = expected + 0.4 * torch.special.entr(mean).sum(dim=1).mean()
    torch.testing.assert_close(loss, expected)


def test_consistency_draws_the_same_noise_in_every_validation() -> None:
    step, objective = step_on(network_of()), Consistency(std=0.3)
    other = dataclasses.replace(step, key=12)
    assert not torch.equal(objective.loss(step), objective.loss(other))
    found = [objective.loss(dataclasses.replace(each, validating=True)) for each in (step, other)]
    assert torch.equal(found[0], found[1])


def test_each_step_is_one_of_two_objectives() -> None:
    first, second, third = Trades(threat=Linf(eps=0.1)), Mart(threat=L2(eps=0.5)), Trades(threat=L1(eps=1.0))
    inner = Alternating(first=first, second=second)
    objective = Alternating(first=inner, second=third, share=0.3)
    steps = [dataclasses.replace(step_on(network_of(), n=1), key=key) for key in range(2000)]
    outer = [objective.drawn(step) is inner for step in steps]
    assert sum(outer) / len(steps) == pytest.approx(0.3, abs=0.04)
    # What the inner objective draws does not depend on the outer one's draw.
    both = [
        chosen and inner.drawn(inner_step(step)) is first for chosen, step in zip(outer, steps, strict=True)
    ]
    assert sum(both) / len(steps) == pytest.approx(0.15, abs=0.03)


def test_a_step_has_the_loss_of_the_objective_drawn() -> None:
    step, parts = step_on(network_of()), (Mart(threat=Linf(eps=0.1)), Mart(threat=L2(eps=0.5)))
    for key in range(20):
        now = dataclasses.replace(step, key=key)
        objective = Alternating(first=parts[0], second=parts[1])
        drawn = objective.drawn(now)
        assert drawn in parts
        assert torch.equal(objective.loss(now), drawn.loss(inner_step(now)))


@pytest.mark.parametrize("share", [0.0, 1.0, 1.5])
def test_both_objectives_have_a_share(share: float) -> None:
    with pytest.raises(SpecError, match="share"):
        Alternating(first=Mart(threat=Linf(eps=0.1)), second=Mart(threat=L2(eps=0.5)), share=share)
    with pytest.raises(SpecError, match="attacks the network"):
        parse(Objective, "alternating(first=cross_entropy, second=mart(threat=linf(eps=0.1)))")


def test_a_subclass_is_of_the_same_kind() -> None:
    inner = PGDTraining(threat=Linf(eps=0.1), attack=PGD(steps=2))

    class Other(AWP):
        @functools.cached_property
        def helper(self) -> int:
            return 1

    other = Other(objective=inner)
    assert other.helper == 1
    assert vars(other.with_share_of_eps(0.5))["objective"] == inner.with_share_of_eps(0.5)
    with pytest.raises((SpecError, ValueError), match="attacks the network"):
        Other(objective=AWP(objective=inner))
    with pytest.raises((SpecError, ValueError), match="attacks the network"):
        AWP(objective=Other(objective=inner))
