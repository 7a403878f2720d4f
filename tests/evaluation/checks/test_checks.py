"""Every toy defense raises its flag, and a sound network raises none."""

import re
from dataclasses import fields, replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from toy_defenses import (
    STRONG,
    WEAK,
    Binarised,
    Companionable,
    Counting,
    Crashing,
    Detached,
    Misleading,
    Noisy,
    Probabilities,
    Purified,
    Rounded,
    Scaled,
    Shortsighted,
    Wrapped,
    evaluated,
    trained,
)

from robustlab.attacks import APGD, APGDL1, PGD, GaussianNoise, RandomPoints, SigmaZero
from robustlab.core.evaluation import Check
from robustlab.core.threat import L0, L1, L2, Linf, ThreatModel
from robustlab.data import Dataset, Split
from robustlab.evaluation.checks import (
    PROBES,
    Context,
    Experiment,
    Finding,
    Lab,
    Row,
    Sample,
    Skip,
    run_checks,
)
from robustlab.evaluation.checks.base import graded
from robustlab.evaluation.checks.challenge import Challenge

MANY = {attack.norms[0]: attack for attack in (APGDL1(steps=50), SigmaZero())} | {"l2": APGD(steps=100)}

BY_ID = {probe.id: probe for probe in PROBES}
CHALLENGES = [probe.id for probe in PROBES if isinstance(probe, Challenge)]


@pytest.fixture(scope="module")
def network(digits: Dataset) -> nn.Module:
    return trained(digits.train)


@pytest.fixture(scope="module")
def images(digits: Dataset) -> Split:
    return digits.test.take(slice(60))


def look(name: str, context: Context) -> Check:
    return BY_ID[name].run(context)


def credulous(context: Context) -> Context:
    """The same, but no attack is said to have broken anything."""
    return replace(context, found=replace(context.found, broken={}))


def test_a_sound_network_raises_no_flag(network: nn.Module, images: Split) -> None:
    context = evaluated(network, images)
    checks = {check.id: check for check in run_checks(context)}
    grades = {name: check.grade for name, check in checks.items()}
    assert grades.pop("sample-size") == "warn"
    skipped = {"transfer", "proofs-under-attack", "blind-gain"}
    assert {name for name, grade in grades.items() if grade != "pass"} == skipped, checks
    assert len(context.found.survivors) > 10, "nothing was left to be challenged"


FLAGS: list[tuple[type[Wrapped], str, str]] = [
    (Detached, "zero-gradients", "fail"),
    (Detached, "extreme-eps", "fail"),
    (Detached, "decision-based-attack", "fail"),
    (Binarised, "zero-gradients", "fail"),
    (Binarised, "gradient-free-attack", "fail"),
    (Rounded, "zero-gradients", "fail"),
    (Noisy, "randomness", "fail"),
    (Probabilities, "softmax-output", "fail"),
    (Purified, "optimisation-at-inference", "fail"),
    (Counting, "optimisation-at-inference", "fail"),
    (Companionable, "batch-dependence", "fail"),
    (Scaled, "logit-scale", "warn"),
    (Scaled, "zero-gradients", "warn"),
    (Crashing, "finite-outputs", "fail"),
    (Misleading, "one-step-beats-many", "fail"),
]


@pytest.mark.parametrize(
    ("defense", "flag", "grade"), FLAGS, ids=lambda value: getattr(value, "__name__", value)
)
def test_a_toy_defense_raises_its_flag(
    defense: type[Wrapped], flag: str, grade: str, network: nn.Module, images: Split
) -> None:
    threat = STRONG if flag == "gradient-free-attack" else WEAK
    context = evaluated(defense(network).eval(), images, threat)
    check = look(flag, context)
    assert check.grade == grade, check
    assert look(flag, evaluated(network, images, threat)).grade != grade


def test_a_random_classifier_that_is_asked_often_is_a_warning(network: nn.Module, images: Split) -> None:
    check = look("randomness", evaluated(Noisy(network).eval(), images, samples=8))
    assert check.grade == "warn"
    assert "8 passes" in check.found


def test_batch_dependence_is_not_asked_of_a_random_classifier(network: nn.Module, images: Split) -> None:
    assert look("batch-dependence", evaluated(Noisy(network).eval(), images)).grade == "skip"


@pytest.mark.parametrize("name", CHALLENGES)
def test_what_an_evaluation_missed_is_found(name: str, network: nn.Module, images: Split) -> None:
    # Random points of a strong threat model do break some undefended images.
    context = evaluated(network, images, Linf(eps=0.45), surrogates=(network,))
    assert len(context.found.broken) > 50
    check = look(name, credulous(context))
    assert check.grade == "fail", check
    assert "lower by" in check.found
    assert check.n <= len(context.found.right)
    assert check.forwards > 0
    left = look(name, context)
    assert left.grade in {"skip", "pass"}, left


SKIPS: list[tuple[str, ThreatModel, str]] = [
    ("stored-images", WEAK, "no image was broken"),
    ("blind-gain", WEAK, "no attack without gradients came after one with gradients"),
    (
        "proofs-under-attack",
        WEAK,
        "no proofs were looked for, or the certifier does not know this classifier",
    ),
    ("transfer", WEAK, "no other classifier was given; name one with --surrogate"),
    (
        "gradient-free-attack",
        L0(eps=1),
        "robustlab has no search without gradients for l0; random-points and random-corners draw without any "
        "search",
    ),
    ("decision-based-attack", L0(eps=1), "robustlab has no attack by decisions alone for l0"),
    ("decision-based-attack", L1(eps=0.5), "robustlab has no attack by decisions alone for l1"),
    ("undefended-network", WEAK, "it takes 16 images; here are 12"),
]


@pytest.mark.parametrize(
    ("name", "threat", "reason"), SKIPS, ids=lambda value: value if value in BY_ID else ""
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
    none_left = replace(context, found=replace(found, broken=dict.fromkeys(found.right, 0.0)))
    assert look("more-steps", none_left).found == "no image is left: all are broken, or proven"
    unproven = replace(context, found=replace(found, proven=frozenset()))
    assert look("proofs-under-attack", unproven).found == "no image is proven"
    all_wrong = replace(context, found=replace(found, right=frozenset()))
    assert look("zero-gradients", all_wrong).found == "no image is classified correctly"


def test_a_network_that_learned_nothing_is_no_test(network: nn.Module, images: Split) -> None:
    grey = Split(
        images=torch.full_like(images.images, 0), labels=images.labels, ids=images.ids, name=images.name
    )
    found = look("undefended-network", evaluated(network, grey)).found
    assert re.fullmatch(r"a small network learned only \d+ of 60 images", found), found


def test_one_image_is_no_more_than_a_warning(network: nn.Module, images: Split) -> None:
    alone = evaluated(Detached(network).eval(), images.take(slice(1)))
    assert len(alone.found.right) == 1
    assert look("decision-based-attack", alone).grade == "warn"


def test_an_attack_that_does_worse_at_a_larger_eps() -> None:
    n = 60
    levels = torch.linspace(-0.02, 0.02, n)
    pixels = (0.5 + levels)[:, None, None, None].expand(n, 1, 4, 4).contiguous()
    split = Split(images=pixels, labels=(levels < 0).long(), ids=torch.arange(n), name="test")
    context = evaluated(Shortsighted().eval(), split, Linf(eps=0.1), classes=2)
    check = look("accuracy-grows-with-eps", context)
    assert check.grade == "fail", check


@pytest.mark.parametrize("threat", [L2(eps=1.0), L1(eps=5.0), L0(eps=8)], ids=repr)
def test_other_norms(threat: ThreatModel, network: nn.Module, images: Split) -> None:
    context = evaluated(network, images.take(slice(40)), threat, attacks=(PGD(steps=10), MANY[threat.name]))
    for name in ("zero-gradients", "accuracy-grows-with-eps", "extreme-eps"):
        assert look(name, context).grade == "pass", look(name, context)
    names = ["one-step-beats-many", "gradient-free-attack", "random-corners"]
    for name in (*names, "decision-based-attack", "undefended-network", "targeted-attack"):
        check = look(name, context)
        assert check.grade != "fail", check
        assert "could not be computed" not in check.found


@pytest.mark.parametrize("threat", [L1(eps=20.0), L0(eps=40)], ids=repr)
def test_other_norms_have_a_targeted_attack(threat: ThreatModel, network: nn.Module, images: Split) -> None:
    context = evaluated(network, images.take(slice(30)), threat, attacks=(MANY[threat.name],))
    assert len(context.found.broken) > 10
    check = look("targeted-attack", credulous(context))
    assert check.grade == "fail", check
    assert "5" in check.found


def test_attacks_that_break_not_even_an_undefended_network(network: nn.Module, images: Split) -> None:
    weak = evaluated(network, images, STRONG, attacks=(RandomPoints(count=1),))
    assert look("undefended-network", weak).grade == "fail"
    assert look("undefended-network", evaluated(network, images, STRONG)).grade == "pass"


def test_blind_attacks_after_gradients(network: nn.Module, images: Split) -> None:
    context = evaluated(network, images)

    def rows(*rows: tuple[str, int, int]) -> Check:
        found = tuple(Row(attack=a, attacked=50, broken=b, backwards=g) for a, b, g in rows)
        return look("blind-gain", replace(context, found=replace(context.found, rows=found)))

    assert rows(("pgd()", 9, 100), ("square()", 3, 0)).grade == "warn"
    assert rows(("pgd()", 9, 100), ("square()", 0, 0)).grade == "pass"
    assert rows(("square()", 3, 0), ("pgd()", 9, 100)).grade == "skip"


def test_books(network: nn.Module, images: Split) -> None:
    context = evaluated(network, images)
    assert look("stored-images", context).grade == "pass"
    for move in (0.01, float("nan")):

        def moved(ids: list[int], move: float = move) -> Tensor:
            return context.found.adversarial(ids) + move

        wrong = replace(context.found, adversarial=moved)
        assert look("stored-images", replace(context, found=wrong)).grade == "fail"
    undone = replace(
        context.found,
        adversarial=lambda ids: images.take(torch.isin(images.ids, torch.tensor(ids))).pixels(slice(None)),
    )
    check = look("stored-images", replace(context, found=undone))
    assert (check.grade, check.found.split(";")[0]) == (
        "fail",
        f"0 of {check.n} outside, {check.n} not as they were confirmed",
    )
    shifted = Split(images=images.images, labels=(images.labels + 1) % 10, ids=images.ids, name="test")
    assert look("clean-accuracy", evaluated(network, shifted)).grade == "fail"
    assert look("sample-size", context).grade == "warn"


def test_false_proofs(network: nn.Module, images: Split) -> None:
    context = evaluated(network, images, STRONG)
    everything = replace(context.found, proven=context.found.right)
    assert look("proofs-under-attack", replace(context, found=everything)).grade == "fail"
    robust = replace(evaluated(network, images, Linf(eps=0.001)).found, broken={})
    proven = replace(robust, proven=robust.right)
    sound = evaluated(network, images, Linf(eps=0.001))
    assert look("proofs-under-attack", replace(sound, found=proven)).grade == "pass"


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


def test_the_state_of_a_sample_tells_all_that_is_in_it(network: nn.Module, images: Split) -> None:
    sample = evaluated(network, images, attacks=()).any_images(20)
    other: dict[str, Any] = {
        "images": sample.images.take(slice(1, None)),
        "drawn_from": sample.drawn_from + 1,
        "total": sample.total + 1,
        "survivors": frozenset([int(sample.images.ids[0])]),
        "attacks": {"pgd()": PGD()},
    }
    assert set(other) == {field.name for field in fields(Sample)}
    states = {replace(sample, **{name: value}).state for name, value in other.items()}
    assert len(states | {sample.state}) == len(other) + 1


class Broken(Experiment):
    id, title, expected, meaning = "broken", "Broken", "nothing", "nothing"

    def __init__(self, error: BaseException) -> None:
        self.error = error

    def sample(self, context: Context) -> Sample:
        return context.any_images(3)

    def look(self, lab: Lab, sample: Sample) -> Finding:
        lab.logits(sample.images.pixels(slice(None)))
        raise self.error


def test_a_check_that_fails_is_a_warning(network: nn.Module, images: Split) -> None:
    context = evaluated(network, images)
    check = Broken(ValueError("no way\nmore")).run(context)
    assert (check.grade, check.n, check.forwards) == ("warn", 0, 3)
    assert check.found == "could not be computed: ValueError: no way"
    assert Broken(Skip("there is no need")).run(context).found == "there is no need"
    with pytest.raises(KeyboardInterrupt):
        Broken(KeyboardInterrupt()).run(context)


class Hooked(Wrapped):
    """Counts the images that pass."""

    seen = 0

    def forward(self, x: Tensor) -> Tensor:
        self.seen += len(x)
        logits: Tensor = self.inner(x)
        return logits


@pytest.mark.parametrize("name", [probe.id for probe in PROBES if probe.id not in {"undefended-network"}])
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
    assert len(BY_ID) == len(PROBES), "two checks share an id"
    for probe in PROBES:
        assert probe.id == probe.id.lower().replace(" ", "-")
        for text in (probe.title, probe.expected, probe.meaning):
            assert text.strip()
        assert probe.meaning.endswith(".")


def test_noise_alone_is_flagged(network: nn.Module, images: Split) -> None:
    context = evaluated(network, images, STRONG, attacks=(GaussianNoise(std=0.02),))
    for name in ("gradient-free-attack", "more-steps", "undefended-network"):
        assert look(name, context).grade == "fail"
