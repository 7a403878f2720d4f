"""AutoAttack's members are those of its authors' code, setting by setting."""

import pytest

from robustlab.core.spec import parse
from robustlab.evaluation.ensembles import AutoAttack, Ensemble
from robustlab.threats import L1, L2, Linf, ThreatModel

TARGETS = {100: 9, 10: 9, 4: 3, 2: 1}
"""By the number of classes, how many a targeted member moves towards."""

SQUARE = "square(queries=5001, p=0.8, loss=margin, restarts=1, rescale=False, proposals=1)"
every_number_of_classes = pytest.mark.parametrize(("classes", "targets"), TARGETS.items())
linf_and_l2 = pytest.mark.parametrize("threat", [Linf(eps=0.3), L2(eps=2.0)], ids=repr)


def apgd(loss: str, targets: int = 0, restarts: int = 1) -> str:
    settings = f"loss={loss}, targets={targets}, restarts={restarts}, rho=0.75, start=surface"
    return f"apgd(steps=100, {settings}, gradient=exact())"


def apgd_l1(loss: str, targets: int = 0, restarts: int = 1, *, large_radii: bool = False) -> str:
    settings = f"loss={loss}, targets={targets}, restarts={restarts}, large_radii={large_radii}"
    return f"apgd_l1(steps=100, {settings}, gradient=exact())"


def fab(targets: int, restarts: int = 1) -> str:
    settings = f"targets={targets}, alpha_max=0.1, eta=1.05, beta=0.9, restarts={restarts}"
    return f"fab(steps=100, {settings}, gradient=exact())"


def members(version: str, threat: ThreatModel, classes: int) -> list[str]:
    return [repr(member) for member in AutoAttack(version=version).stages(threat, classes)]  # type: ignore[arg-type]


@every_number_of_classes
@linf_and_l2
def test_standard(threat: ThreatModel, classes: int, targets: int) -> None:
    assert members("standard", threat, classes) == [
        apgd("cross_entropy"),
        apgd("dlr", targets),
        fab(targets),
        SQUARE,
    ]


@every_number_of_classes
def test_standard_within_l1(classes: int, targets: int) -> None:
    assert members("standard", L1(eps=12.0), classes) == [
        apgd_l1("cross_entropy", restarts=5, large_radii=True),
        apgd_l1("dlr", min(5, targets), large_radii=True),
        fab(targets),
        SQUARE,
    ]


@every_number_of_classes
@linf_and_l2
def test_plus(threat: ThreatModel, classes: int, targets: int) -> None:
    assert members("plus", threat, classes) == [
        apgd("cross_entropy", restarts=5),
        apgd("dlr", restarts=5),
        fab(0, restarts=5),
        SQUARE,
        apgd("dlr", targets),
        fab(targets),
    ]


@every_number_of_classes
def test_plus_within_l1_is_not_tuned_for_it(classes: int, targets: int) -> None:
    assert members("plus", L1(eps=12.0), classes) == [
        apgd_l1("cross_entropy", restarts=5),
        apgd_l1("dlr", restarts=5),
        fab(0, restarts=5),
        SQUARE,
        apgd_l1("dlr", targets),
        fab(targets),
    ]


@pytest.mark.parametrize("classes", TARGETS)
def test_rand(classes: int) -> None:
    for threat in (Linf(eps=0.3), L2(eps=2.0)):
        assert members("rand", threat, classes) == [apgd("cross_entropy"), apgd("dlr")]
    assert members("rand", L1(eps=12.0), classes) == [apgd_l1("cross_entropy"), apgd_l1("dlr")]


def test_samples() -> None:
    assert parse(Ensemble, "autoattack(version=rand)").eot_samples == 20
    assert AutoAttack(version="plus").eot_samples == AutoAttack().eot_samples == 1
