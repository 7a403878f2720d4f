"""Every toy defense raises its flag, and a sound network raises none."""

from dataclasses import replace

import pytest
import torch
from all_checks import run_checks
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
    credulous,
    evaluated,
    look,
    trained,
)

from robustlab.attacks import APGD, APGDL1, PGD, Attack, BPDAGradient, RandomPoints, Restarts, SigmaZero
from robustlab.data import Split, Splits
from robustlab.evaluation.checks import all_checks
from robustlab.evaluation.checks.survivors import SurvivorCheck
from robustlab.runs.evaluation import CheckRecord
from robustlab.threats import L0, L1, L2, Linf, ThreatModel

MANY = {attack.norms[0]: attack for attack in (APGDL1(steps=50), SigmaZero())} | {"l2": APGD(steps=100)}

CHALLENGES = [unit.id for unit in all_checks() if isinstance(unit, SurvivorCheck)]


@pytest.fixture(scope="module")
def network(digits: Splits) -> nn.Module:
    return trained(digits.train)


@pytest.fixture(scope="module")
def images(digits: Splits) -> Split:
    return digits.test.take(slice(60))


def test_a_sound_network_raises_no_flag(network: nn.Module, images: Split) -> None:
    context = evaluated(network, images)
    checks = {check.id: check for check in run_checks(context)}
    grades = {name: check.grade for name, check in checks.items()}
    assert grades.pop("sample-size") == "warn"
    skipped = {"transfer", "proofs-under-attack", "blind-gain", "random-moves", "more-samples", "above-clean"}
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
    (Counting, "state-changes", "fail"),
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


class Wavering(Wrapped):
    """Adds a fast oscillation to the image."""

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.inner(x + 0.02 * torch.sin(100 * torch.pi * x))
        return logits


@pytest.mark.parametrize(("eps", "grade"), [(0.005, "pass"), (0.05, "fail"), (0.1, "fail")])
def test_gradients_that_disagree_are_shattered_if_they_lead_astray(
    eps: float, grade: str, network: nn.Module, images: Split
) -> None:
    context = evaluated(Wavering(network).eval(), images, Linf(eps=eps), attacks=())
    check = look("shattered-gradients", context)
    assert check.found.startswith("gradients of the margin nearby disagree at 39 of 60 images; ")
    # Within a tenth of a period nobody notices it.
    assert check.grade == grade, check


def test_a_random_classifier_that_is_asked_often_is_a_warning(network: nn.Module, images: Split) -> None:
    check = look("randomness", evaluated(Noisy(network).eval(), images, eot_samples=8))
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
    assert check.n <= len(context.found.correct)
    assert check.forwards > 0
    left = look(name, context)
    assert left.grade in {"skip", "pass"}, left


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
    assert look("undefended-network", credulous(evaluated(network, images, STRONG))).grade == "pass"


@pytest.mark.parametrize("times", [0, 2])
def test_an_undefended_network_needs_no_part_of_bpda(times: int, network: nn.Module, images: Split) -> None:
    context = evaluated(network, images, STRONG)
    for steps, length, grade in ((10, 0.2, "pass"), (1, 0.01, "fail")):
        attack: Attack = PGD(
            steps=steps, rel_step_size=length, gradient=BPDAGradient(part="quantizer"), start="clean"
        )
        attack = Restarts(attack=attack, times=times) if times else attack
        check = look("undefended-network", credulous(replace(context, attacks={repr(attack): attack})))
        assert check.grade == grade, check


def test_blind_attacks_after_gradients(network: nn.Module, images: Split) -> None:
    context = evaluated(network, images)

    def rows(*rows: tuple[str, int, bool]) -> CheckRecord:
        known = context.found.rows[0]
        found = tuple(replace(known, attack=a, attacked=50, broken=b, blind=blind) for a, b, blind in rows)
        return look("blind-gain", replace(context, found=replace(context.found, rows=found)))

    assert rows(("pgd()", 9, False), ("square()", 3, True)).grade == "warn"
    assert rows(("pgd()", 9, False), ("square()", 0, True)).grade == "pass"
    assert rows(("square()", 3, True), ("pgd()", 9, False)).grade == "skip"
    assert rows(("pgd()", 9, False), ("apgd()", 3, False)).grade == "skip"


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
    everything = replace(context.found, certified=context.found.correct)
    assert look("proofs-under-attack", replace(context, found=everything)).grade == "fail"
    robust = replace(evaluated(network, images, Linf(eps=0.001)).found, broken={})
    certified = replace(robust, certified=robust.correct)
    sound = evaluated(network, images, Linf(eps=0.001))
    assert look("proofs-under-attack", replace(sound, found=certified)).grade == "pass"


def test_noise_alone_is_flagged(network: nn.Module, images: Split) -> None:
    context = evaluated(network, images, STRONG, attacks=(RandomPoints(count=1),))
    for name in ("gradient-free-attack", "more-steps", "undefended-network"):
        assert look(name, context).grade == "fail"


class Drowned(Wrapped):
    """Adds so much noise to the logits that a mean over two draws is chance."""

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.inner(x)
        return logits + 8 * torch.randn_like(logits)


def test_too_few_samples_raise_a_flag(network: nn.Module, images: Split) -> None:
    context = evaluated(Drowned(network).eval(), images, STRONG, attacks=(PGD(steps=1),))
    assert look("more-samples", context).grade == "skip"
    asked = replace(context, runner=replace(context.runner, eot_samples=32))
    found = look("more-samples", credulous(asked))
    assert found.grade == "fail"
    assert "means over 64 passes instead of 32" in found.found
    assert found.forwards >= 64 * found.n


def test_enough_samples_raise_none(network: nn.Module, images: Split) -> None:
    context = evaluated(network, images, WEAK)
    asked = replace(context, runner=replace(context.runner, eot_samples=2))
    assert look("more-samples", asked).grade == "pass"
