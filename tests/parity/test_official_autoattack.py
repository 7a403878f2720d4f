"""AutoAttack beside its authors' code: on the same images ours leaves no more of them."""

import pytest
from comparison import Subject, trained
from official import CHECKOUT, needs_checkout

import peer_adapters as peers
from peer_adapters import Call
from peers import correct, inside
from robustlab.data import Splits
from robustlab.evaluation.ensembles import AutoAttack
from robustlab.threats import L1, L2, Linf, ThreatModel

pytestmark = needs_checkout

IMAGES, SLACK = 50, 1
"""How many images are attacked, and how many more of them ours may leave than the original."""

MEMBERS = ["apgd-ce", "apgd-t", "fab-t", "square"]
every_norm = pytest.mark.parametrize("threat", [Linf(eps=0.15), L2(eps=1.5), L1(eps=8.0)], ids=repr)


@pytest.fixture(scope="module")
def subject(digits: Splits) -> Subject:
    return trained(digits, IMAGES)


def left(subject: Subject, threat: ThreatModel, attack: Call) -> int:
    """Return how many images withstand an attack."""
    found = attack(subject.model, subject.images, subject.labels, IMAGES)
    assert inside(found, subject.images, threat).all()
    robust = correct(subject.model, subject.images, subject.labels)
    return int((robust & correct(subject.model, found, subject.labels)).sum())


@every_norm
@pytest.mark.parametrize("member", MEMBERS)
def test_no_member_is_weaker(member: str, threat: ThreatModel, subject: Subject) -> None:
    attack = AutoAttack().stages(threat, 10)[MEMBERS.index(member)]
    ours = left(subject, threat, peers.robustlab(attack, threat))
    theirs = left(subject, threat, peers.autoattack(CHECKOUT, threat, attacks=(member,)))
    assert ours <= theirs + SLACK
    unattacked = left(subject, threat, lambda _, images, *__: images)
    assert 0 < theirs < unattacked, "a subject on which attacks do not differ"


@every_norm
def test_the_ensemble_is_not_weaker(threat: ThreatModel, subject: Subject) -> None:
    ours = left(subject, threat, peers.ensemble(AutoAttack(), threat))
    theirs = left(subject, threat, peers.autoattack(CHECKOUT, threat))
    assert ours <= theirs + SLACK
