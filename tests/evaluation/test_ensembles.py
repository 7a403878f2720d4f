"""Ensembles: AutoAttack is what its paper says, and lists of attacks read as they are written."""

import pytest

from robustlab.attacks import APGD, FGSM, PGD
from robustlab.core.errors import SpecError
from robustlab.core.spec import parse
from robustlab.core.threat import L0, L2, Linf, ThreatModel
from robustlab.evaluation.ensembles import AutoAttack, Ensemble, attack_list, resolved


def stages(spec: str, threat: ThreatModel, classes: int = 10) -> list[tuple[str, dict[str, object]]]:
    members = parse(Ensemble, spec).stages(threat, classes)
    shown = ("steps", "loss", "targets", "restarts", "queries")
    return [(a.name, {k: v for k, v in vars(a).items() if k in shown}) for a in members]


@pytest.mark.parametrize("threat", [Linf(eps=0.3), L2(eps=2.0)])
def test_standard_autoattack(threat: ThreatModel) -> None:
    assert stages("autoattack", threat) == [
        ("apgd", {"steps": 100, "loss": "cross_entropy", "targets": 0, "restarts": 1}),
        ("apgd", {"steps": 100, "loss": "dlr", "targets": 9, "restarts": 1}),
        ("fab", {"steps": 100, "targets": 9, "restarts": 1}),
        ("square", {"queries": 5000, "loss": "margin", "restarts": 1}),
    ]


def test_autoattack_plus_and_rand() -> None:
    plus = stages("autoattack(version=plus)", Linf(eps=0.3))
    assert [name for name, _ in plus] == ["apgd", "apgd", "fab", "square", "apgd", "fab"]
    assert [a["restarts"] for _, a in plus] == [5, 5, 5, 1, 1, 1]
    rand = parse(Ensemble, "autoattack(version=rand)")
    assert [name for name, _ in stages("autoattack(version=rand)", Linf(eps=0.3))] == ["apgd", "apgd"]
    assert rand.samples == 20
    assert AutoAttack().samples == 1


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
        with pytest.raises(SpecError, match="is no fraction"):
            parse(ThreatModel, wrong)
