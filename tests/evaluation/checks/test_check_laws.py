"""What holds for every check: counted passes, no trace left behind, a reason for each skip."""

import re
from dataclasses import fields, replace
from typing import Any

import pytest
import torch
from all_checks import run_checks
from torch import Tensor, nn
from toy_defenses import WEAK, Detached, Wrapped, credulous, evaluated, look, trained

from hostile_settings import TOGETHER, settings
from robustlab.attacks import PGD, RandomPoints
from robustlab.core.calling import UserCodeError
from robustlab.data import Split, Splits
from robustlab.evaluation.checks import (
    ActiveCheck,
    AttackRunner,
    CheckResult,
    Context,
    NotApplicable,
    Sample,
    all_checks,
)
from robustlab.evaluation.checks.base import graded
from robustlab.threats import L0, L1, ThreatModel


@pytest.fixture(scope="module")
def network(digits: Splits) -> nn.Module:
    return trained(digits.train)


@pytest.fixture(scope="module")
def images(digits: Splits) -> Split:
    return digits.test.take(slice(60))


def test_the_model_is_left_as_it_was(network: nn.Module, images: Split) -> None:
    before = {name: value.clone() for name, value in network.state_dict().items()}
    state = torch.get_rng_state()
    run_checks(evaluated(network, images.take(slice(20))))
    assert all(torch.equal(before[name], value) for name, value in network.state_dict().items())
    assert all(parameter.requires_grad for parameter in network.parameters())
    assert torch.equal(state, torch.get_rng_state())


def test_outcomes_do_not_depend_on_batches_or_order(network: nn.Module, images: Split) -> None:
    few = images.take(slice(24))
    backwards = few.take(torch.arange(len(few)).flip(0))

    def outcomes(split: Split, batch_size: int) -> list[tuple[Any, ...]]:
        context = evaluated(network, split, batch_size=batch_size)
        # The last bits of a product differ with the batch: one check reports just them, another follows
        # decisions that they may turn.
        loose = {"batch-dependence", "decision-based-attack"}
        return [
            (check.id, check.grade, check.n, "" if check.id in loose else check.found)
            for check in run_checks(context)
        ]

    assert outcomes(few, 24) == outcomes(backwards, 7)


def test_what_the_caller_has_set_does_not_matter(network: nn.Module, images: Split) -> None:
    def outcomes() -> list[dict[str, Any]]:
        return [check.model_dump() for check in run_checks(context)]

    context = evaluated(network, images.take(slice(8)))
    plain = outcomes()
    assert sum(check["grade"] != "skip" for check in plain) > 12
    with settings(*TOGETHER["types and devices"], "autocast"):
        assert outcomes() == plain


def test_a_check_whose_model_quits(network: nn.Module, images: Split) -> None:
    class Quitting(Wrapped):
        def forward(self, x: Tensor) -> Tensor:
            del x
            raise SystemExit(0)

    context = evaluated(network, images.take(slice(18)))
    context = replace(context, runner=replace(context.runner, model=Quitting(network).eval()))
    quit_in = []
    for unit in all_checks():
        try:
            check = unit.run(context)
        except UserCodeError as error:
            quit_in.append(str(error))
        else:
            assert check.forwards == 0 or unit.id == "undefended-network"
    assert len(quit_in) > 8
    assert all(said.startswith("the model failed") and "SystemExit: 0" in said for said in quit_in)


def test_the_state_of_a_sample_tells_all_that_is_in_it(network: nn.Module, images: Split) -> None:
    sample = evaluated(network, images, attacks=()).any_images(20)
    other: dict[str, Any] = {
        "images": sample.images.take(slice(1, None)),
        "drawn_from": sample.drawn_from + 1,
        "total": sample.total + 1,
        "survivors": frozenset([int(sample.images.ids[0])]),
        "attacks": {"pgd()": PGD()},
        "surrogates": ("abc",),
    }
    assert set(other) == {field.name for field in fields(Sample)}
    states = {replace(sample, **{name: value}).state for name, value in other.items()}
    assert len(states | {sample.state}) == len(other) + 1


class Broken(ActiveCheck):
    name, title, expected, meaning = "broken", "Broken", "nothing", "nothing"

    def __init__(self, error: BaseException) -> None:
        self.error = error

    def sample(self, context: Context) -> Sample:
        return context.any_images(3)

    def look(self, runner: AttackRunner, sample: Sample) -> CheckResult:
        runner.logits(sample.images.pixels(slice(None)))
        raise self.error


def test_a_check_that_fails_is_a_warning(network: nn.Module, images: Split) -> None:
    context = evaluated(network, images)
    check = Broken(ValueError("no way\nmore")).run(context)
    assert (check.grade, check.n, check.forwards) == ("warn", 0, 3)
    assert check.found == "could not be computed: ValueError: no way more"
    assert Broken(NotApplicable("there is no need")).run(context).found == "there is no need"
    with pytest.raises(KeyboardInterrupt):
        Broken(KeyboardInterrupt()).run(context)


class Hooked(Wrapped):
    """Counts the images that pass."""

    seen = 0

    def forward(self, x: Tensor) -> Tensor:
        self.seen += len(x)
        logits: Tensor = self.inner(x)
        return logits


@pytest.mark.parametrize("name", [unit.id for unit in all_checks() if unit.id not in {"undefended-network"}])
def test_forward_passes_are_counted(name: str, network: nn.Module, images: Split) -> None:
    model = Hooked(network).eval()
    context = evaluated(model, images.take(slice(30)))
    model.seen = 0
    check = look(name, context)
    # Batches that are filled up with images that are done with already cost a few passes more.
    assert check.forwards <= model.seen <= 1.1 * check.forwards


COUNTS: list[tuple[int, int, bool, str]] = [
    (0, 100, True, "pass"),
    (1, 1000, True, "pass"),
    (1, 100, True, "warn"),
    (3, 1000, True, "warn"),
    (12, 1000, True, "fail"),
    (3, 1000, False, "fail"),
    (1, 100, False, "warn"),
]


@pytest.mark.parametrize(("count", "n", "sampled", "grade"), COUNTS)
def test_a_failure_is_beyond_chance(count: int, n: int, sampled: bool, grade: str) -> None:
    assert graded(count, n, 0.002, sampled=sampled) == grade


def test_every_check_says_what_it_is() -> None:
    assert len({unit.id for unit in all_checks()}) == len(all_checks()), "two checks share an id"
    for unit in all_checks():
        assert unit.id == unit.id.lower().replace(" ", "-")
        for text in (unit.title, unit.expected, unit.meaning):
            assert text.strip()
        assert unit.meaning.endswith(".")


SKIPS: list[tuple[str, ThreatModel, str]] = [
    ("stored-images", WEAK, "no image was broken"),
    ("blind-gain", WEAK, "no attack without gradients came after one with gradients"),
    (
        "proofs-under-attack",
        WEAK,
        "no proofs were looked for, or the certifier does not know this classifier",
    ),
    ("transfer", WEAK, "no other classifier was given, and robustlab has none; name one with --surrogate"),
    (
        "gradient-free-attack",
        L0(eps=1),
        "square does not support l0; random-points and random-corners draw without any search",
    ),
    ("decision-based-attack", L0(eps=1), "robustlab has no attack by decisions alone for l0"),
    ("decision-based-attack", L1(eps=0.5), "robustlab has no attack by decisions alone for l1"),
    ("undefended-network", WEAK, "it takes 16 images; here are 12"),
]


@pytest.mark.parametrize(
    ("name", "threat", "reason"), SKIPS, ids=lambda value: value if isinstance(value, str) else repr(value)
)
def test_why_a_check_is_skipped(
    name: str, threat: ThreatModel, reason: str, network: nn.Module, images: Split
) -> None:
    context = credulous(evaluated(network, images.take(slice(12)), threat, attacks=(RandomPoints(count=1),)))
    check = look(name, context)
    assert (check.grade, check.found, check.n, check.forwards) == ("skip", reason, 0, 0)


def test_nothing_to_look_at(network: nn.Module, images: Split) -> None:
    context = evaluated(network, images.take(slice(1)))
    assert look("batch-dependence", context).found == "there is only one image"
    found = context.found
    none_left = replace(context, found=replace(found, broken=dict.fromkeys(found.correct, 0.0)))
    assert look("more-steps", none_left).found == "no image is left: all are broken, or proven"
    unproven = replace(context, found=replace(found, certified=frozenset()))
    assert look("proofs-under-attack", unproven).found == "no image is proven"
    all_wrong = replace(context, found=replace(found, correct=frozenset()))
    assert look("zero-gradients", all_wrong).found == "no image is classified correctly"


def test_a_network_that_learned_nothing_is_no_test(network: nn.Module, images: Split) -> None:
    grey = Split(
        images=torch.full_like(images.tensor(), 0), labels=images.labels, ids=images.ids, name=images.name
    )
    found = look("undefended-network", credulous(evaluated(network, grey))).found
    assert re.fullmatch(r"a small network learned only \d+ of 60 images", found), found


def test_one_image_is_no_more_than_a_warning(network: nn.Module, images: Split) -> None:
    alone = evaluated(Detached(network).eval(), images.take(slice(1)))
    assert len(alone.found.correct) == 1
    assert look("decision-based-attack", alone).grade == "warn"
