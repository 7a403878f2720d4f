"""Attacks that do not move the images, or make them easier, are named by two checks."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from test_checks_in_engine import run
from torch import Tensor, nn
from toy_defenses import ATTACKS, STRONG, WEAK, Rounded, evaluated, look, outcomes, trained

from robustlab.attacks import DDN, FGSM, MIFGSM, PGD, Attack, IfMasked, RandomPoints, Square
from robustlab.attacks.gradients import SurrogateGradient
from robustlab.attacks.session import Session
from robustlab.core import spec
from robustlab.core.spec import register
from robustlab.data import Split, Splits
from robustlab.evaluation.checks import AttackedRow, Context
from robustlab.threats import L2, Linf, Masked, ThreatModel, Unbounded


@pytest.fixture(scope="module")
def network(digits: Splits) -> nn.Module:
    return trained(digits.train)


@pytest.fixture(scope="module")
def images(digits: Splits) -> Split:
    return digits.test.take(slice(60))


@pytest.fixture(scope="module")
def doubtful(network: nn.Module, images: Split) -> Split:
    """The same, but the labels of every third image are the classes that the network thinks of second."""
    runners_up = network(images.pixels(slice(None))).topk(2, dim=1).indices[:, 1]
    labels = torch.where(torch.arange(len(images)) % 3 == 0, runners_up, images.labels)
    return Split(images=images.images, labels=labels, ids=images.ids, name=images.name)


@pytest.fixture(scope="module")
def downhill() -> Iterator[type[Attack]]:
    """An attack whose author has mistaken the sign: it makes images easier."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(spec, "_registry", {kind: dict(units) for kind, units in spec._registry.items()})

        @register("downhill")
        class Downhill(Attack):
            """One step of length eps, down the loss."""

            def search(self, session: Session) -> None:
                slope = session.gradient(session.clean, propose=False)
                session.propose(session.ascend(session.clean, -slope, 1.0))

        yield Downhill


def perturbed(model: nn.Module, images: Split, attack: Attack, threat: ThreatModel = WEAK) -> Context:
    """An evaluation by one attack that perturbs every image, misclassified ones too."""
    context = evaluated(model, images, threat, attacks=())
    result = attack.run(
        model, images.pixels(slice(None)), images.labels, threat, ids=images.ids, early_stop=False
    )
    row = AttackedRow.of(attack, outcomes(images, result), context.found.correct, met=len(images), broken=0)
    return replace(context, found=replace(context.found, rows=(row,)))


def test_an_attack_without_a_gradient_to_follow_does_not_move_the_images(
    network: nn.Module, images: Split
) -> None:
    standing = FGSM()
    check = look("zero-distance", evaluated(Rounded(network).eval(), images, attacks=(standing,)))
    assert check.grade == "fail"
    assert check.found == f"{check.n} of {check.n} images of {standing!r} are the clean ones"
    assert check.n > 30
    assert check.forwards == 0
    sound = look("zero-distance", evaluated(network, images))
    assert (sound.grade, sound.found) == (
        "pass",
        f"of {len(ATTACKS)} attacks by gradients each moved at least 99.0 % of its images",
    )


def test_a_few_images_may_stay(network: nn.Module, images: Split) -> None:
    context = evaluated(network, images, attacks=(FGSM(),))
    (row,) = context.found.rows

    def graded(still: int, searched: int = 200) -> str:
        rows = (replace(row, still=still, searched=searched),)
        return look("zero-distance", replace(context, found=replace(context.found, rows=rows))).grade

    assert [graded(still) for still in (0, 2, 3, 200)] == ["pass", "pass", "fail", "fail"]
    assert graded(1, 50) == "warn", "one image is no more than a warning"


class Bright(nn.Module):
    """Class 1 if the images are bright: an attack on class 1 makes each value darker."""

    def forward(self, x: Tensor) -> Tensor:
        mean = x.flatten(1).mean(dim=1)
        return torch.stack([0.5 - mean, mean], dim=1)


@pytest.mark.parametrize("free", [[0], [0, 3], [2]])
def test_within_a_mask_an_image_may_stay_whose_free_values_lie_at_an_end(free: list[int]) -> None:
    pixels = torch.full((20, 1, 10, 20), 0.8)
    pixels[:5].flatten(1)[:, [0, 3]] = 0.0
    split = Split(images=pixels, labels=torch.ones(20, dtype=torch.int64), ids=torch.arange(20), name="test")
    mask = Masked(threat=Linf(eps=0.2), fixed=tuple(k for k in range(200) if k not in free))
    check = look("zero-distance", evaluated(Bright().eval(), split, mask, attacks=(FGSM(),)))
    assert check.grade == "pass"
    assert (", apart from 5 whose values that may change lie at 0 or 1" in check.found) is (2 not in free)
    # An attack that stands still at the other images is found, as without a mask.
    still = look("zero-distance", evaluated(Rounded(Bright()).eval(), split, mask, attacks=(FGSM(),)))
    assert still.grade == "fail"
    assert still.found.startswith("15 of 20" if 2 not in free else "20 of 20")


def test_within_a_mask_of_values_that_all_lie_at_an_end_it_says_nothing() -> None:
    pixels = torch.full((4, 1, 2, 2), 0.8)
    pixels[..., 0, 0] = 0.0
    split = Split(images=pixels, labels=torch.ones(4, dtype=torch.int64), ids=torch.arange(4), name="test")
    mask = Masked(threat=Linf(eps=0.2), fixed=(1, 2, 3))
    check = look("zero-distance", evaluated(Bright().eval(), split, mask, attacks=(FGSM(),)))
    assert check.grade == "skip"
    assert check.found == "all values that may change lie at 0 or 1, where they may be best"


@pytest.mark.parametrize(
    ("attack", "threat", "reason"),
    [
        (RandomPoints(count=1), WEAK, "no attack followed gradients within eps"),
        (IfMasked(attack=Square(queries=5)), WEAK, "no attack followed gradients within eps"),
        (DDN(steps=3), L2(eps=0.5), "no attack followed gradients within eps"),
        (FGSM(), Linf(eps=0.0), "eps is 0: no image may change"),
        (None, Unbounded(), "unbounded() bounds no distance"),
    ],
    ids=repr,
)
def test_where_it_means_nothing_that_images_stay(
    attack: Attack | None, threat: ThreatModel, reason: str, network: nn.Module, images: Split
) -> None:
    attacks = () if attack is None else (attack,)
    check = look("zero-distance", evaluated(Rounded(network).eval(), images, threat, attacks=attacks))
    assert (check.grade, check.found) == ("skip", reason)


def test_an_attack_that_goes_down_the_loss_is_named(
    network: nn.Module, doubtful: Split, downhill: Callable[[], Attack]
) -> None:
    context = perturbed(network, doubtful, downhill())
    (row,) = context.found.rows
    wrong = len(doubtful) - len(context.found.correct)
    assert row.attacked == row.searched == len(doubtful)
    assert row.misclassified == wrong
    assert 2 <= row.gained <= wrong
    assert row.lost == 0
    check = look("above-clean", context)
    assert check.grade == "fail"
    assert check.found == f"{row.gained} images became correct under downhill(), and 0 misclassified"
    assert check.n == len(doubtful)
    assert look("zero-distance", context).grade == "pass", "it did move them"


def test_an_attack_that_goes_up_is_not(network: nn.Module, doubtful: Split) -> None:
    context = perturbed(network, doubtful, PGD(steps=5), STRONG)
    (row,) = context.found.rows
    assert row.gained == 0
    assert row.lost == len(context.found.correct)
    context = perturbed(network, doubtful, PGD(steps=5))
    assert look("above-clean", context).grade == "pass"


def test_the_verdict_of_a_search_without_gradients_is_beyond_chance(
    network: nn.Module, doubtful: Split
) -> None:
    context = perturbed(network, doubtful, RandomPoints(count=1))
    (row,) = context.found.rows

    def grade(gained: int, lost: int, *, by_gradient: bool = False, white_box: bool = True) -> str:
        changed = replace(row, gained=gained, lost=lost, by_gradient=by_gradient, white_box=white_box)
        return look("above-clean", replace(context, found=replace(context.found, rows=(changed,)))).grade

    assert [grade(gained, 0) for gained in (0, 1, 6, 7)] == ["pass", "pass", "pass", "fail"]
    assert [grade(gained, 3, by_gradient=True) for gained in (3, 4, 5)] == ["pass", "warn", "fail"]
    assert grade(9, 0, white_box=False) == "skip", "made on other networks"


def test_who_leaves_misclassified_images_alone_can_gain_none(network: nn.Module, images: Split) -> None:
    check = look("above-clean", evaluated(network, images))
    assert (check.grade, check.found) == ("skip", "no attack perturbed misclassified images")
    transferred = MIFGSM(gradient=SurrogateGradient())
    assert transferred.transfers
    assert not MIFGSM().transfers


def test_an_evaluation_has_both(make_linear: Callable[..., nn.Module], tmp_path: Path) -> None:
    model = make_linear(classes=4, shape=(1, 4, 5), seed=2)
    found = {
        check.id: check for check in run(tmp_path, model, attacks="fgsm, square(queries=5)").results.checks
    }
    assert found["zero-distance"].grade == "pass"
    assert found["above-clean"].grade == "skip"

    class Step(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = model

        def forward(self, x: Tensor) -> Tensor:
            logits: Tensor = self.inner((x * 16).round() / 16)
            return logits

    stepped = run(tmp_path / "step", Step().eval(), attacks="fgsm").results
    (check,) = (check for check in stepped.checks if check.id == "zero-distance")
    assert check.grade == "fail", check
