"""Our attacks beside other libraries' on the zoo's networks and the real MNIST.

One network is undefended; the gradients of the other, which saw one-step attacks alone, mislead, and the
nearest success is hard to find. Few images and short attacks: `test_parity.py` compares in full.
"""

import functools
import math
from pathlib import Path

import pytest
from comparison import Measure, Subject, accuracy_within, against, median_within

import peer_adapters as peers
from peer_adapters import Call, adv_lib, foolbox, torchattacks
from peers import correct
from robustlab.attacks import APGD, DDN, FGSM, FMN, PGD, DeepFool, Square, SteepestMinNorm
from robustlab.data import load_dataset
from robustlab.models import load_from_zoo
from robustlab.threats import L2, Linf, ThreatModel

pytestmark = pytest.mark.mnist

IMAGES = 50
"""One is 0.02; another random start changes what PGD leaves by two of them, on the second network by four."""

bounded = functools.partial(against, images=IMAGES)
nearest = functools.partial(against, images=IMAGES, early_stop=False)
LOW, HIGH = Linf(eps=0.15), Linf(eps=0.35)
ANY_L2, ANY_LINF = L2(eps=28.0), Linf(eps=1.0)


def apgd(threat: ThreatModel) -> dict[str, Call]:
    return {
        "torchattacks": torchattacks(lambda ta, model: ta.APGD(model, "Linf", threat.eps, 25)),
        "adv-lib": adv_lib(lambda al, *task: al.apgd(*task, threat.eps, math.inf, False, 25, 1, "ce")),
    }


def square(threat: ThreatModel) -> dict[str, Call]:
    return {
        "torchattacks": torchattacks(
            lambda ta, model: ta.Square(model, "Linf", threat.eps, 80, resc_schedule=False)
        ),
    }


def pgd_l2(threat: ThreatModel) -> dict[str, Call]:
    return {
        "torchattacks": torchattacks(
            lambda ta, model: ta.PGDL2(model, eps=threat.eps, alpha=threat.eps / 10, steps=15)
        ),
        "foolbox": foolbox(lambda fb: fb.attacks.L2PGD(steps=15, rel_stepsize=0.1), eps=threat.eps),
    }


def fmn(order: float) -> dict[str, Call]:
    return {"adv-lib": adv_lib(lambda al, *task: al.fmn(*task, order, steps=30))}


DEEPFOOLS = {
    "foolbox": foolbox(lambda fb: fb.attacks.L2DeepFoolAttack()),
    "adv-lib": adv_lib(lambda al, *task: al.df(*task, steps=50)),
}
DDNS = {"adv-lib": adv_lib(lambda al, *task: al.ddn(*task, steps=30, levels=None))}

# fmt: off
UNDEFENDED = [
    *bounded("pgd", PGD(steps=15), LOW, peers.pgd(LOW, 15, 0.1), accuracy_within(0.061)),
    *bounded("pgd", PGD(steps=15), L2(eps=1.5), pgd_l2(L2(eps=1.5)), accuracy_within(0.061)),
    *bounded("apgd", APGD(steps=25), LOW, apgd(LOW), accuracy_within(0.061)),
    *bounded("square", Square(queries=80), Linf(eps=0.3), square(Linf(eps=0.3)), accuracy_within(0.061)),
    *nearest("fmn", FMN(steps=30), ANY_LINF, fmn(math.inf), median_within(1.01)),
    *nearest("fmn", FMN(steps=30), ANY_L2, fmn(2), median_within(1.0)),
    *nearest("ddn", DDN(steps=30), ANY_L2, DDNS, median_within(1.01)),
    *nearest("deepfool", DeepFool(), ANY_L2, DEEPFOOLS, median_within(1.01)),
]
MISLEADING = [
    *bounded("pgd", PGD(steps=15), HIGH, peers.pgd(HIGH, 15, 0.1), accuracy_within(0.101)),
    *bounded("pgd", PGD(steps=15), L2(eps=2.5), pgd_l2(L2(eps=2.5)), accuracy_within(0.041)),
    *bounded("apgd", APGD(steps=25), HIGH, apgd(HIGH), accuracy_within(0.001)),
    *bounded("square", Square(queries=80), HIGH, square(HIGH), accuracy_within(0.041)),
    *nearest("deepfool", DeepFool(), ANY_L2, DEEPFOOLS, median_within(1.0)),
    *nearest("fmn", FMN(steps=60), ANY_L2, {
        "adv-lib": adv_lib(lambda al, *task: al.fmn(*task, 2, steps=60)),
    }, median_within(1.06)),
    *nearest("fmn", FMN(steps=60), ANY_LINF, {
        "adv-lib": adv_lib(lambda al, *task: al.fmn(*task, math.inf, steps=60)),
    }, median_within(1.02)),
    # adv-lib's FMN scales its moves up to the radius, too, and is the best of the peers here.
    *nearest("nearest", SteepestMinNorm(steps=30), ANY_L2, fmn(2), median_within(0.8)),
    *nearest("ddn", DDN(steps=60), ANY_L2, {
        "adv-lib": adv_lib(lambda al, *task: al.ddn(*task, steps=60, levels=None)),
    }, median_within(1.01)),
]
# fmt: on


@functools.cache
def _subject(network: str, root: Path) -> Subject:
    test = load_dataset("mnist", data_root=root).test
    return Subject(
        model=load_from_zoo(network), images=test.pixels(slice(IMAGES)), labels=test.labels[:IMAGES]
    )


def compare(
    peer: str, ours: Call, theirs: Call, threat: ThreatModel, measure: Measure, subject: Subject
) -> None:
    if not peers.installed(peer):
        pytest.skip(f"{peer} is not installed; see the extra `peers` in pyproject.toml")
    arguments = (subject.model, subject.images, subject.labels, IMAGES)
    measure(subject, threat, ours(*arguments), theirs(*arguments))


@pytest.mark.parametrize(("peer", "ours", "theirs", "threat", "measure", "images"), UNDEFENDED)
def test_we_are_as_good_on_the_undefended_network(
    peer: str, ours: Call, theirs: Call, threat: ThreatModel, measure: Measure, images: int, mnist_root: Path
) -> None:
    assert images == IMAGES
    compare(peer, ours, theirs, threat, measure, _subject("mnist_cnn", mnist_root))


@pytest.mark.parametrize(("peer", "ours", "theirs", "threat", "measure", "images"), MISLEADING)
def test_we_are_as_good_where_gradients_mislead(
    peer: str, ours: Call, theirs: Call, threat: ThreatModel, measure: Measure, images: int, mnist_root: Path
) -> None:
    assert images == IMAGES
    compare(peer, ours, theirs, threat, measure, _subject("mnist_single_step", mnist_root))


@pytest.mark.parametrize(
    ("network", "weak", "strong", "threat"),
    [
        ("mnist_cnn", FGSM(), PGD(steps=15), LOW),
        ("mnist_single_step", PGD(steps=15), APGD(steps=25), HIGH),
    ],
)
def test_attacks_of_unlike_strength_differ_on_the_networks(
    network: str, weak: FGSM | PGD, strong: PGD | APGD, threat: ThreatModel, mnist_root: Path
) -> None:
    """Or else the cases above would hold for any attack."""
    subject = _subject(network, mnist_root)
    left = [
        correct(subject.model, images, subject.labels).double().mean().item()
        for images in (
            subject.images,
            *(a.run(subject.model, subject.images, subject.labels, threat).images for a in (weak, strong)),
        )
    ]
    assert left[0] > 0.95
    assert left[1] > left[2] + 0.1
