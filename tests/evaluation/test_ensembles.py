"""Ensembles: targets fit the classes, and lists of attacks read as they are written."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from robustlab.attacks import APGD, FGSM, PGD, IfMasked, Restarts
from robustlab.core import seeding
from robustlab.core.errors import SpecError
from robustlab.core.options import Effort
from robustlab.core.spec import parse
from robustlab.evaluation.ensembles import AutoAttack, Ensemble, Standard, attack_list, resolved, with_effort
from robustlab.runs.subject import BlackBoxAnswers
from robustlab.threats import L0, L1, L2, Linf, ThreatModel


def stages(spec: str, threat: ThreatModel, classes: int = 10) -> list[tuple[str, dict[str, object]]]:
    members = parse(Ensemble, spec).stages(threat, classes)
    shown = ("steps", "loss", "targets", "restarts", "queries")
    return [(a.name, {k: v for k, v in vars(a).items() if k in shown}) for a in members]


@pytest.mark.parametrize(("classes", "targets"), [(2, 1), (5, 4), (10, 9), (100, 9)])
def test_targets_fit_the_classes(classes: int, targets: int) -> None:
    found = [a["targets"] for _, a in stages("autoattack", Linf(eps=0.3), classes) if a.get("targets")]
    assert found == [targets, targets]
    for threat in (Linf(eps=0.3), L2(eps=2.0)):
        assert all(a.get("targets", 0) in {0, targets} for _, a in stages("standard", threat, classes))


def test_lists() -> None:
    asked = attack_list("pgd(steps=3), fgsm,\nautoattack(version=rand)")
    assert asked[:2] == (PGD(steps=3), FGSM())
    assert attack_list(["pgd(steps=3), fgsm", AutoAttack(version="rand")]) == asked
    assert attack_list(APGD()) == (APGD(),)
    members = resolved(attack_list("fgsm, fgsm, autoattack(version=rand)"), Linf(eps=0.3), 10)
    assert [a.name for a in members] == ["fgsm", "apgd", "apgd"], "the same attack runs once"


def test_no_attack_for_the_threat_model() -> None:
    with pytest.raises(SpecError, match="has no attack for l0"):
        resolved(attack_list("autoattack"), L0(eps=5), 10)


def test_fractions_in_specs() -> None:
    assert parse(ThreatModel, "linf(eps=8/255)") == Linf(eps=8 / 255)
    for wrong in ("linf(eps=1/0)", "linf(eps='a'/2)", "linf(eps=x/2)"):
        with pytest.raises(SpecError, match="is not a fraction"):
            parse(ThreatModel, wrong)


class Rounded(nn.Module):
    """Sees five levels of each value, so that its gradient is zero."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.model((images * 4).round() / 4)
        return logits


def test_within_l0_a_classifier_without_gradients_does_not_look_robust(
    make_linear: Callable[..., nn.Module],
) -> None:
    linear = make_linear(classes=3, shape=(1, 5, 5), seed=3)
    images = (seeding.uniform(3, torch.arange(40), (1, 5, 5)) * 4).round() / 4
    with torch.no_grad():
        labels = linear(images).argmax(dim=1)
    # At these images, and wherever values are 0 or 1, both classifiers answer alike.
    left = {}
    for name, model in (("linear", linear), ("rounded", Rounded(linear).eval())):
        robust = torch.ones(40, dtype=torch.bool)
        for attack in Standard().stages(L0(eps=1), 3):
            robust &= ~attack.run(model, images, labels, L0(eps=1)).successes
        left[name] = robust
    assert 5 < left["linear"].sum() < 35
    assert torch.equal(left["linear"], left["rounded"])


LEVELS: tuple[Effort, ...] = ("quick", "standard", "thorough")


@pytest.mark.parametrize("threat", [Linf(eps=0.08), L2(eps=0.3), L1(eps=0.5), L0(eps=1)], ids=repr)
@pytest.mark.parametrize("black_box", ["", "scores", "labels"])
def test_more_effort_breaks_all_that_less_effort_breaks(
    make_linear: Callable[..., nn.Module], threat: ThreatModel, black_box: BlackBoxAnswers
) -> None:
    """By construction: each level has the attacks of the one before, with more rounds or restarts."""
    model = Rounded(make_linear(classes=4, shape=(1, 5, 5), seed=5)).eval()
    images = seeding.uniform(5, torch.arange(12), (1, 5, 5))
    with torch.no_grad():
        labels = model(images).argmax(dim=1)
    robust = torch.ones(12, dtype=torch.bool)
    for effort in LEVELS:
        left = torch.ones(12, dtype=torch.bool)
        for attack in resolved((Standard(effort=effort),), threat, 4, black_box=black_box):
            small = _shorter(attack)
            left &= ~small.run(model, images, labels, threat).successes
        assert not (left & ~robust).any()
        robust = left


def _shorter(attack: Any) -> Any:
    """Return the attack with a hundredth of the queries of a search without gradients, and few rounds."""
    if isinstance(attack, Restarts | IfMasked):
        return replace(attack, attack=_shorter(attack.attack))
    for name, share in (("queries", 100), ("rounds", 20), ("steps", 20)):
        if hasattr(attack, name):
            attack = replace(attack, **{name: max(2, getattr(attack, name) // share)})
    return attack


def test_effort_is_for_standard_alone() -> None:
    asked = attack_list("fgsm, standard, standard(effort=quick)")
    assert with_effort(asked, None) == asked
    assert with_effort(asked, "thorough") == (FGSM(), *[Standard(effort="thorough")] * 2)
    with pytest.raises(SpecError, match="effort is for the attack list standard, but attacks is fgsm, pgd"):
        with_effort(attack_list("fgsm, pgd"), "quick")
