"""Gradient estimators: what they estimate, what they cost, and that every attack takes every one of them."""

import dataclasses
from collections.abc import Callable
from typing import Any

import pytest
import torch
from attack_cases import ATTACKS, one_for, run, with_mistakes
from small_networks import Counting, Recorded, mlp
from torch import Tensor, nn

from robustlab.attacks import (
    APGD,
    BPDA,
    FGSM,
    FMN,
    MIFGSM,
    PGD,
    Attack,
    BPDAGradient,
    EOTGradient,
    ExactGradient,
    FiniteDifferences,
    Gradient,
    GradientAttack,
    IfMasked,
    IfShattered,
    Session,
    SmoothedGradient,
    SPSAGradient,
    SurrogateGradient,
)
from robustlab.attacks.initialization import begin
from robustlab.core import seeding
from robustlab.core.errors import RobustlabError, SpecError
from robustlab.core.spec import parse, units
from robustlab.threats import L2, Linf, ThreatModel

FOLLOWING = list({attack.name: attack for attack in ATTACKS if isinstance(attack, GradientAttack)}.values())
ESTIMATORS: list[Gradient] = [
    ExactGradient(),
    EOTGradient(samples=3),
    SmoothedGradient(draws=2),
    SurrogateGradient(),
    SPSAGradient(pairs=3),
    FiniteDifferences(),
    BPDAGradient(part="part"),
]
every_estimator = pytest.mark.parametrize("gradient", ESTIMATORS, ids=repr)
SHAPE = (1, 4, 4)


class Partial(nn.Module):
    """A classifier behind a part that may have no gradient."""

    def __init__(self, part: nn.Module, rest: nn.Module) -> None:
        super().__init__()
        self.part, self.rest = part, rest

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.rest(self.part(images))
        return logits


class Stairs(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return (x * 8).round() / 8


def taking(attack: Attack, gradient: Gradient) -> Attack:
    return type(attack)(**vars(attack) | {"gradient": gradient})


def test_every_estimator_is_tried() -> None:
    assert {gradient.name for gradient in ESTIMATORS} == set(units(Gradient))


def test_every_attack_that_follows_gradients_takes_them_as_an_argument() -> None:
    for unit in units(Attack).values():
        names = [field.name for field in dataclasses.fields(unit)]  # type: ignore[arg-type]
        assert issubclass(unit, GradientAttack) == ("gradient" in names), unit.name
        assert not issubclass(unit, GradientAttack) or names[-1] == "gradient"


@pytest.mark.parametrize("early_stop", [True, False])
@every_estimator
@pytest.mark.parametrize("attack", FOLLOWING, ids=repr)
def test_every_attack_takes_every_estimator(
    attack: Attack, gradient: Gradient, early_stop: bool, make_batch: Callable[..., Any]
) -> None:
    model, surrogate = Partial(nn.Identity(), mlp()).eval(), mlp(seed=1)
    batch = with_mistakes(make_batch(12), model)
    threat, attack = one_for(attack), taking(attack, gradient)
    seen, others = Counting(model).eval(), [Counting(surrogate).eval(), Counting(mlp(seed=2)).eval()]
    result = run(attack, seen, batch, threat, early_stop=early_stop, surrogates=others, batch_size=8)
    assert (result.distances <= threat.eps * (1 + 1e-6) + 1e-6).all()
    assert result.images.min() >= 0
    assert result.images.max() <= 1
    assert int(result.forwards.sum()) == sum(network.forwards for network in (seen, *others))
    assert int(result.backwards.sum()) == seen.backwards  # of all three: they count together
    with torch.no_grad():
        assert torch.equal(result.successes, model(result.images).argmax(dim=1) != batch.labels)
    # BPDA and the surrogates use gradients, but not those of the classifier as it is.
    asks = isinstance(gradient, (BPDAGradient, SurrogateGradient)) or gradient.needs_gradient
    assert bool(result.backwards.any()) == asks
    assert attack.needs_gradient == (
        gradient.needs_gradient and attack.name not in ("flip_search", "margin_search")
    )


class Probe(GradientAttack):
    """Remembers the gradients of the margin and of the first and the last logit at the clean images."""

    name = "probe"

    def __init__(self, gradient: Gradient) -> None:
        object.__setattr__(self, "gradient", gradient)
        self.found: list[Tensor] = []

    def search(self, session: Session) -> None:
        last = session.clean_logits.shape[1] - 1
        classes = torch.tensor([[0, last]]).expand(len(session.labels), 2)
        self.found = [session.gradient(session.clean, "margin"), session.jacobian(session.clean, classes)[1]]


@pytest.mark.parametrize(
    ("gradient", "tolerance"),
    [
        (ExactGradient(), 1e-5),
        (EOTGradient(samples=7), 1e-5),
        (SmoothedGradient(draws=5, std=0.05), 1e-5),
        (SurrogateGradient(), 1e-5),
        (FiniteDifferences(delta=0.05), 1e-3),
        # Off by about sqrt(16 values / 4000 pairs) of the length, 6 %.
        (SPSAGradient(pairs=4000, delta=0.05), 0.12),
        (BPDAGradient(part="part"), 1e-5),
        (BPDAGradient(part="part", stand_in="other"), 1e-5),
    ],
    ids=repr,
)
@pytest.mark.parametrize("walls", [False, True])
def test_on_a_linear_classifier_every_estimator_is_exact(
    gradient: Gradient, tolerance: float, walls: bool, make_linear: Callable[..., nn.Module]
) -> None:
    linear: Any = make_linear(classes=2)
    hidden = Stairs() if isinstance(gradient, BPDAGradient) else nn.Identity()
    model = Partial(hidden, linear).eval()
    model.other = nn.Identity().eval()
    images = seeding.uniform(1, torch.arange(12), SHAPE)
    images = images.round() if walls else 0.1 + 0.8 * images
    with torch.no_grad():
        labels, weight = model(images).argmax(dim=1), linear[1].weight.detach()
    probe = Probe(gradient)
    probe.run(model, images, labels, Linf(eps=0.0), early_stop=False, surrogates=[linear])
    margin, jacobian = probe.found

    def off(found: Tensor, true: Tensor) -> float:
        return float(((found - true).norm(dim=-1) / true.norm(dim=-1)).max())

    assert off(margin.flatten(1), weight[1 - labels] - weight[labels]) < tolerance
    assert off(jacobian.flatten(2), weight.expand(12, 2, 16)) < 2.5 * tolerance


def test_the_sum_of_surrogates(make_linear: Callable[..., nn.Module], make_batch: Callable[..., Any]) -> None:
    networks: list[Any] = [make_linear(classes=3, seed=seed) for seed in (1, 2)]
    batch, probe = make_batch(5), Probe(SurrogateGradient())
    probe.run(mlp(), batch.images, batch.labels, Linf(eps=0.1), early_stop=False, surrogates=networks)
    true = networks[0][1].weight + networks[1][1].weight
    torch.testing.assert_close(probe.found[1].flatten(2), true[[0, 2]].detach().expand(5, 2, 16))


@pytest.mark.parametrize("threat", [Linf(eps=0.1), L2(eps=0.5)], ids=repr)
@pytest.mark.parametrize("random_start", [False, True])
@pytest.mark.parametrize("goal", ["misclassified", "next"])
def test_fgsm_on_surrogates_is_fgsm_on_the_surrogate(
    threat: ThreatModel, random_start: bool, goal: str, make_batch: Callable[..., Any]
) -> None:
    model, surrogate, batch = mlp(), mlp(seed=3), make_batch(30)
    attack = FGSM(random_start=random_start)
    white = run(attack, surrogate, batch, threat, early_stop=False, criterion=goal, seed=5)
    black = run(
        taking(attack, SurrogateGradient()), model, batch, threat,
        early_stop=False, criterion=goal, seed=5, surrogates=[surrogate],
    )  # fmt: skip
    assert torch.equal(white.images, black.images)
    with torch.no_grad():
        assert torch.equal(black.predictions, model(black.images).argmax(dim=1))
    assert not torch.equal(white.predictions, black.predictions)


@pytest.mark.parametrize("attack", [PGD(steps=5), MIFGSM(steps=5)], ids=repr)
def test_a_path_of_gradients_alone_is_shown_at_its_end(
    attack: Attack, make_batch: Callable[..., Any]
) -> None:
    surrogate, batch = Recorded(mlp(seed=3)).eval(), make_batch(30)
    run(attack, surrogate, batch, Linf(eps=0.1), early_stop=False)
    last = surrogate.points[-2]  # before the one that is measured in the end
    seen, black = Recorded(mlp()).eval(), taking(attack, SurrogateGradient())
    result = run(black, seen, batch, Linf(eps=0.1), early_stop=False, surrogates=[mlp(seed=3)])
    assert torch.equal(result.images, last)
    assert len(seen.points) == 2


def test_without_surrogates_it_says_so(make_batch: Callable[..., Any]) -> None:
    with pytest.raises(RobustlabError, match="needs --surrogate, or surrogates="):
        run(APGD(gradient=SurrogateGradient()), mlp(), make_batch(5), Linf(eps=0.1), early_stop=False)


@pytest.mark.parametrize(
    "same", [EOTGradient(samples=1), SmoothedGradient(draws=1, std=0.0), BPDAGradient(part="part")], ids=repr
)
@pytest.mark.parametrize("attack", [PGD(steps=4), APGD(steps=6), FMN(steps=6)], ids=repr)
def test_what_changes_nothing_changes_nothing(
    attack: Attack, same: Gradient, make_batch: Callable[..., Any]
) -> None:
    model = Partial(nn.Identity(), mlp()).eval()
    batch = with_mistakes(make_batch(30), model)
    plain = run(attack, model, batch, one_for(attack))
    assert torch.equal(plain.images, run(taking(attack, same), model, batch, one_for(attack)).images)


@pytest.mark.parametrize("attack", [PGD(steps=4), APGD(steps=6), FMN(steps=6)], ids=repr)
def test_the_wrapper_smooths_as_the_estimator_does(attack: Attack, make_batch: Callable[..., Any]) -> None:
    model = mlp()
    batch = with_mistakes(make_batch(30), model)
    one = run(IfShattered(attack=attack, draws=3, agreement=1.0), model, batch, one_for(attack))
    other = run(taking(attack, SmoothedGradient(draws=3)), model, batch, one_for(attack))
    for name in vars(one):
        assert torch.equal(getattr(one, name), getattr(other, name)), name


def test_a_wrapper_looks_at_exact_gradients(make_batch: Callable[..., Any]) -> None:
    model, batch = mlp(), make_batch(30)
    inner = PGD(steps=2, gradient=SPSAGradient(pairs=2))
    for wrapper in (IfMasked(attack=inner, steps=2, points=1), IfShattered(attack=inner)):
        assert run(wrapper, model, batch, Linf(eps=0.1), early_stop=False).backwards.max() == (
            6 + 2 * isinstance(wrapper, IfMasked)
        )


def test_means_over_draws_are_nearer_to_the_mean(make_linear: Callable[..., nn.Module]) -> None:
    class Noisy(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.linear: Any = make_linear(classes=3)

        def forward(self, x: Tensor) -> Tensor:
            logits: Tensor = self.linear(x + torch.randn_like(x) * x)
            return logits

    model, images = Noisy().eval(), 0.2 + 0.6 * seeding.uniform(1, torch.arange(200), SHAPE)
    labels, true = torch.zeros(200, dtype=torch.int64), model.linear[1].weight[[0, 2]].detach()
    deviations = []
    for samples in (1, 25):
        probe = Probe(EOTGradient(samples=samples))
        probe.run(model, images, labels, Linf(eps=0.1), early_stop=False)
        deviations.append(float((probe.found[1].flatten(2) - true).std()))
    assert deviations[1] == pytest.approx(deviations[0] / 5, rel=0.1)


@pytest.mark.parametrize("stand_in", [None, "smooth"])
def test_bpda_by_name_is_the_module_in_the_model(
    stand_in: str | None, make_linear: Callable[..., nn.Module]
) -> None:
    class Cube(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x**3

    model = Partial(Stairs(), make_linear(classes=3)).eval()
    model.smooth = Cube().eval()
    images = seeding.uniform(2, torch.arange(50), SHAPE)
    with torch.no_grad():
        labels = model(images).argmax(dim=1)
    shown = Partial(BPDA(Stairs(), None if stand_in is None else Cube()), model.rest).eval()
    threat = Linf(eps=0.15)
    by_module = PGD(steps=10).run(shown, images, labels, threat)
    by_name = PGD(steps=10, gradient=BPDAGradient(part="part", stand_in=stand_in)).run(
        model, images, labels, threat
    )
    assert torch.equal(by_module.images, by_name.images)
    hidden = PGD(steps=10).run(model, images, labels, threat)  # the part is itself again afterwards
    assert hidden.successes.sum() < 0.5 * by_name.successes.sum()


def test_bpda_finds_its_part(make_linear: Callable[..., nn.Module], make_batch: Callable[..., Any]) -> None:
    batch = make_batch(10)
    inner = Partial(Stairs(), make_linear(classes=3))
    deep = nn.Sequential(nn.Identity(), Partial(nn.Identity(), inner)).eval()
    for name, problem in (
        ("1.rest.part", None),
        ("rest.part", None),
        ("part", None),  # the one that lies the least deep
        ("prt", r"no part 'prt' \(did you mean '.*part'\?\); accepted: 0, 1, 1.part"),
        ("rest", None),
    ):
        attack = PGD(steps=2, gradient=BPDAGradient(part=name))
        if name == "rest":
            problem = r"the part 'rest' returns \(10, 3\), and its stand-in \(10, 1, 4, 4\)"
        if problem is None:
            run(attack, deep, batch, Linf(eps=0.1), early_stop=False)
        else:
            with pytest.raises(RobustlabError, match=problem):
                run(attack, deep, batch, Linf(eps=0.1), early_stop=False)
    twice = nn.Sequential(inner, Partial(Stairs(), nn.Identity())).eval()
    with pytest.raises(RobustlabError, match=r"several parts 'part': 0\.part, 1\.part"):
        run(PGD(gradient=BPDAGradient(part="part")), twice, batch, Linf(eps=0.1), early_stop=False)


@pytest.mark.parametrize("gradient", ESTIMATORS, ids=repr)
def test_differences_are_taken_in_fp32(gradient: Gradient, make_batch: Callable[..., Any]) -> None:
    class Listening(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.part, self.model, self.in_half = nn.Identity(), mlp(), False

        def forward(self, x: Tensor) -> Tensor:
            self.in_half |= torch.is_autocast_enabled(x.device.type)
            logits: Tensor = self.model(self.part(x))
            return logits

    model = Listening().eval()
    run(
        PGD(steps=2, gradient=gradient), model, make_batch(10), Linf(eps=0.1),
        bf16=True, early_stop=False, surrogates=[mlp()],
    )  # fmt: skip
    assert model.in_half == (not gradient.small_differences)


def test_starts_and_functions_of_the_logits_take_every_estimator(make_batch: Callable[..., Any]) -> None:
    model, batch = Partial(nn.Identity(), mlp()).eval(), make_batch(20)

    class Starts(Probe):
        def search(self, session: Session) -> None:
            self.found = [begin("odi", session)]

    found = {}
    for gradient in ESTIMATORS:
        probe = Starts(gradient)
        run(probe, model, batch, Linf(eps=0.1), early_stop=False, surrogates=[model])
        found[gradient.name] = probe.found[0]
    for name in ("eot", "surrogates", "bpda"):
        assert torch.equal(found[name], found["exact"])
    assert (found["finite_differences"] == found["exact"]).float().mean() > 0.9


def test_estimators_are_nested_specs() -> None:
    attack = parse(Attack, "apgd(gradient=spsa(pairs=8), steps=3)")
    assert attack == APGD(steps=3, gradient=SPSAGradient(pairs=8))
    assert attack.brief() == "apgd(steps=3, gradient=spsa(pairs=8))"
    assert parse(Attack, "pgd(gradient=surrogates)") == PGD(gradient=SurrogateGradient())
    assert parse(Attack, repr(attack)) == attack
    assert PGD().brief() == "pgd()"
    assert parse(Attack, "pgd(gradient=bpda(part=front.jpeg))") == PGD(
        gradient=BPDAGradient(part="front.jpeg")
    )


def test_the_old_argument_names_the_new_spec() -> None:
    with pytest.raises(SpecError, match=r"has no argument 'transfer'; write mi_fgsm\(gradient=surrogates\)"):
        parse(Attack, "mi_fgsm(transfer=True)")
    with pytest.raises(SpecError, match=r"mi_fgsm\(gradient=surrogates\)"):
        MIFGSM(transfer=True)  # type: ignore[call-arg]
