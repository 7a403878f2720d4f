"""Ensembles: targets fit the classes, and lists of attacks read as they are written."""

import pytest

from robustlab.attacks import APGD, FGSM, PGD
from robustlab.core.errors import SpecError
from robustlab.core.spec import parse
from robustlab.evaluation.ensembles import AutoAttack, Ensemble, attack_list, resolved
from robustlab.threats import L0, L2, Linf, ThreatModel


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
