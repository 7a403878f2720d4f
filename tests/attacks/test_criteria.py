"""When an attack has reached its goal: the criteria, the texts that name them, and what attacks do."""

import dataclasses
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from attack_cases import both_modes, every_attack, every_pair, one_for, run, with_mistakes
from small_networks import Counting, mlp
from torch import Tensor, nn

from robustlab.attacks import (
    APGD,
    FAB,
    FMN,
    PGD,
    Attack,
    Corruption,
    Criterion,
    DeepFool,
    Misclassified,
    Observation,
    Square,
    Targeted,
    as_criterion,
)
from robustlab.attacks.losses import Loss, measure
from robustlab.core import spec
from robustlab.core.errors import RobustlabError, SpecError
from robustlab.core.spec import parse, register, units
from robustlab.threats import L2, Linf, ThreatModel, Unbounded

GOALS = ["misclassified", "2", "next", "+2", "least-likely"]


@pytest.fixture(scope="module")
def model() -> nn.Module:
    return mlp()


@pytest.fixture
def batch(model: nn.Module, make_batch: Callable[..., Any]) -> Any:
    return with_mistakes(make_batch(40), model)


def wanted(goal: str, labels: Tensor, clean_logits: Tensor) -> Tensor:
    """The targets of a goal, by its definition."""
    if goal == "least-likely":
        return clean_logits.argmin(dim=1)
    if goal == "2":
        return torch.full_like(labels, 2)
    return (labels + (2 if goal == "+2" else 1)) % clean_logits.shape[1]


@pytest.mark.parametrize("goal", GOALS)
@every_attack
def test_a_success_is_what_the_criterion_says_of_the_returned_image(
    attack: Attack, goal: str, model: nn.Module, batch: Any
) -> None:
    if goal != "misclassified" and not attack.inner.targetable:
        with pytest.raises(RobustlabError, match="can't move towards a target class"):
            run(attack, model, batch, one_for(attack), criterion=goal)
        return
    result = run(attack, model, batch, one_for(attack), criterion=goal)
    with torch.no_grad():
        logits, clean = model(result.images), model(batch.images)
    predictions = logits.argmax(dim=1)
    if goal == "misclassified":
        assert torch.equal(result.successes, predictions != batch.labels)
        return
    targets = wanted(goal, batch.labels, clean)
    assert torch.equal(result.successes, (predictions == targets) & (targets != batch.labels))
    seen = Observation(
        points=result.images,
        logits=logits,
        valid=torch.ones_like(result.successes),
        labels=batch.labels,
        targets=as_criterion(goal).targets(batch.labels, lambda: clean),
    )
    assert torch.equal(result.successes, as_criterion(goal).reached(seen))


@both_modes
@every_pair
def test_a_fixed_class_is_the_same_as_targets(
    attack: Attack, threat: ThreatModel, early_stop: bool, model: nn.Module, batch: Any
) -> None:
    if not attack.inner.targetable:
        return
    one = run(attack, model, batch, threat, early_stop=early_stop, targets=1)
    other = run(attack, model, batch, threat, early_stop=early_stop, criterion=Targeted(classes=1))
    for name in vars(one):
        assert torch.equal(getattr(one, name), getattr(other, name)), name


@both_modes
@every_attack
def test_an_image_of_the_wanted_class_is_left_alone(
    attack: Attack, early_stop: bool, model: nn.Module, batch: Any
) -> None:
    if not attack.inner.targetable:
        return
    alone = batch.labels == 1
    assert 0 < alone.sum() < 40
    for choice in ({"targets": 1}, {"criterion": "1"}):
        result = run(attack, model, batch, one_for(attack), early_stop=early_stop, **choice)
        assert torch.equal(result.images[alone], batch.images[alone])
        assert not result.successes[alone].any()
        assert (result.restarts[alone] == -1).all()
    everyone = dataclasses.replace(batch, labels=torch.ones_like(batch.labels))
    result = run(attack, model, everyone, one_for(attack), early_stop=early_stop, criterion=1)
    assert torch.equal(result.images, batch.images)
    assert not result.successes.any()
    assert (result.forwards <= 2).all()  # a look at the beginning, and one at the end
    assert not result.backwards.any()


@pytest.mark.parametrize("goal", GOALS)
def test_passes_are_counted_with_those_that_find_the_target(goal: str, model: nn.Module, batch: Any) -> None:
    counting = Counting(model).eval()
    result = run(
        PGD(steps=3), counting, batch, Linf(eps=0.2), early_stop=False, criterion=goal, batch_size=16
    )
    assert int(result.forwards.sum()) == counting.forwards
    assert int(result.backwards.sum()) == counting.backwards
    assert int(result.forwards.max()) == 3 + 2 + (goal in {"next", "+2", "least-likely"})


def test_no_answer_misclassifies_and_is_no_target(make_batch: Callable[..., Any]) -> None:
    class Silent(nn.Module):
        def forward(self, images: Tensor) -> Tensor:
            return images.flatten(1)[:, :3] * torch.nan

    batch = make_batch(10)
    for attack, threat in ((PGD(steps=2), Linf(eps=0.1)), (FMN(steps=2), L2(eps=0.5))):
        for early_stop in (True, False):
            goals = ("misclassified", "next", "least-likely")
            won = [
                run(attack, Silent().eval(), batch, threat, early_stop=early_stop, criterion=goal).successes
                for goal in goals
            ]
            assert [bool(one.all()) for one in won] == [True, False, False]
            assert [bool(one.any()) for one in won] == [True, False, False]


@pytest.mark.parametrize("loss", ["cross_entropy", "margin", "dlr"])
def test_the_loss_leads_to_the_goal(loss: Loss) -> None:
    torch.manual_seed(0)
    logits, labels, targets = torch.randn(30, 6), torch.arange(30) % 6, (torch.arange(30) + 2) % 6
    points, valid = torch.zeros(30, 1, 1, 1), torch.arange(30) % 7 != 0
    seen = Observation(points=points, logits=logits, valid=valid, labels=labels, targets=targets)
    towards, away = Targeted(classes="+2").loss(loss, seen), Misclassified().loss(loss, seen)
    assert torch.equal(towards[valid], measure(loss, logits, labels, targets)[valid])
    assert (towards[~valid] == -torch.inf).all()
    assert torch.equal(away, measure(loss, logits, labels))
    if loss == "margin":
        assert torch.equal(towards[valid] > 0, Targeted(classes="+2").reached(seen)[valid])
        assert torch.equal(away[valid] > 0, Misclassified().reached(seen)[valid])


@pytest.mark.parametrize(
    ("text", "criterion"),
    [
        ("misclassified", Misclassified()),
        (" misclassified() ", Misclassified()),
        (3, Targeted(classes=3)),
        ("3", Targeted(classes=3)),
        ("next", Targeted(classes="next")),
        ("+1", Targeted(classes="next")),
        ("+04", Targeted(classes="+4")),
        ("least-likely", Targeted(classes="least-likely")),
        ("least_likely", Targeted(classes="least-likely")),
        ("targeted(classes=next)", Targeted(classes="next")),
        ("targeted(classes='least-likely')", Targeted(classes="least-likely")),
        ("targeted(classes=least_likely)", Targeted(classes="least-likely")),
        ("targeted(classes='+2')", Targeted(classes="+2")),
        (Targeted(classes=0), Targeted(classes=0)),
    ],
)
def test_how_a_goal_is_named(text: Any, criterion: Criterion) -> None:
    assert as_criterion(text) == criterion
    assert parse(Criterion, repr(criterion)) == criterion == as_criterion(criterion.brief())


@pytest.mark.parametrize(
    "text", ["", "all", "-1", -1, True, 1.5, None, "+0", "targeted", "targeted()", "targeted(classes=-1)",
             "targeted(classes=nearest)", "99999999999", "next()", "targeted(classes=True)"]
)  # fmt: skip
def test_what_names_no_goal_is_refused_in_one_line(text: Any) -> None:
    with pytest.raises(SpecError) as caught:
        as_criterion(text)
    assert "\n" not in str(caught.value)


def test_targets_and_a_criterion_are_one_too_many(model: nn.Module, batch: Any) -> None:
    for criterion in ("next", 1, Misclassified()):
        with pytest.raises(RobustlabError, match="not both"):
            run(PGD(), model, batch, Linf(eps=0.1), targets=1, criterion=criterion)


def test_a_class_that_the_model_does_not_have_is_refused(model: nn.Module, batch: Any) -> None:
    with pytest.raises(RobustlabError, match="outputs 3 logits, but labels and targets go up to 3"):
        run(PGD(steps=1), model, batch, Linf(eps=0.1), criterion=3)
    assert not Corruption.targetable
    with pytest.raises(RobustlabError, match="can't move towards a target class"):
        run(Corruption(effect="stripe"), model, batch, Unbounded(), criterion="next")


@pytest.fixture
def evades() -> Iterator[Criterion]:
    """A criterion of somebody else: misclassified, and bright enough for a detector to let it pass."""

    @register("evades")
    class Evades(Criterion):
        level: float

        def _score(self, points: Tensor) -> Tensor:
            return points.flatten(1).mean(dim=1) - self.level

        def reached(self, seen: Observation) -> Tensor:
            return Misclassified().reached(seen) & (self._score(seen.points) > 0)

        def loss(self, loss: Loss, seen: Observation, rivals: Tensor | None = None) -> Tensor:
            return measure(loss, seen.logits, seen.labels, rivals=rivals).minimum(
                10 * self._score(seen.points)
            )

    units(Criterion)
    try:
        yield parse(Criterion, "evades(level=0.52)")
    finally:
        spec._registry[Criterion].pop("evades")


@pytest.mark.parametrize(
    ("attack", "threat"),
    [
        (PGD(steps=30, loss="margin"), Linf(eps=0.2)),
        (APGD(steps=30, loss="margin"), Linf(eps=0.2)),
        (APGD(steps=30, loss="margin", targets=2), Linf(eps=0.2)),
        (Square(queries=400), Linf(eps=0.2)),
        (FMN(steps=60), Linf(eps=1.0)),
        (DeepFool(), Linf(eps=1.0)),
        (FAB(steps=30, targets=0), Linf(eps=1.0)),
        (FAB(steps=30, targets=2), Linf(eps=1.0)),
    ],
    ids=repr,
)
def test_a_criterion_of_somebody_else_needs_nothing_but_itself(
    attack: Attack, threat: ThreatModel, evades: Criterion, model: nn.Module, make_batch: Callable[..., Any]
) -> None:
    batch = make_batch(40)
    with torch.no_grad():
        batch = dataclasses.replace(batch, labels=model(batch.images).argmax(dim=1))
    result = run(attack, model, batch, threat, criterion=evades)
    with torch.no_grad():
        wrong = model(result.images).argmax(dim=1) != batch.labels
    bright = result.images.flatten(1).mean(dim=1) > 0.52
    assert torch.equal(result.successes, wrong & bright)
    plain = run(attack, model, batch, threat)
    by_chance = plain.successes & (plain.images.flatten(1).mean(dim=1) > 0.52)
    assert result.successes.sum() > by_chance.sum()
