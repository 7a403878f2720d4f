"""Our attacks beside other libraries': the same or better, within a stated tolerance, on a trained network.

To add an attack, add a line to `CASES`: ours, the threat model, what the peers run, how the two are compared.
The adapters are in `benchmarks/peer_adapters.py`. Whatever comes back, ours or theirs, is measured afresh.
"""

import functools
import math

import pytest
from comparison import (
    Measure,
    Subject,
    accuracy_within,
    against,
    median_within,
    part,
    same_images,
    trained,
)

import peer_adapters as peers
from peer_adapters import Call, adv_lib, art, foolbox, torchattacks
from peers import correct
from robustlab.attacks import (
    APGD,
    APGDL1,
    CW,
    DDN,
    EAD,
    FAB,
    FGSM,
    FMN,
    MIFGSM,
    PGD,
    DeepFool,
    HopSkipJump,
    SigmaZero,
    Square,
)
from robustlab.core.threat import L0, L1, L2, Linf, ThreatModel
from robustlab.data import Dataset

IMAGES = 256
"""A power of two, so that a mean loss has the same gradient as a summed one up to an exact factor."""

bounded = functools.partial(against, images=IMAGES)
nearest = functools.partial(against, images=IMAGES // 2, mode="max-loss")
"""For attacks that look for the nearest image: they are given a wide threat model and their full budget."""

INF, TWO, ONE = Linf(eps=0.15), L2(eps=1.5), L1(eps=8.0)
ANY_L0, ANY_L1, ANY_L2, ANY_LINF = L0(eps=784), L1(eps=784.0), L2(eps=28.0), Linf(eps=1.0)

# fmt: off
CASES = [
    *bounded("fgsm", FGSM(), INF, peers.fgsm(INF), same_images(1e-6), mode="max-loss"),
    *bounded("fgsm", FGSM(), TWO, peers.fgsm(TWO), same_images(1e-6), mode="max-loss"),
    *bounded("mi_fgsm", MIFGSM(steps=20), INF, {
        "torchattacks": torchattacks(lambda ta, model: ta.MIFGSM(model, INF.eps, INF.eps / 20, 20)),
    }, accuracy_within(0.01)),
    *bounded("pgd", PGD(steps=20), INF, peers.pgd(INF, 20, 0.1), accuracy_within(0.02)),
    *bounded("pgd", PGD(steps=20), TWO, peers.pgd(TWO, 20, 0.1), accuracy_within(0.02)),
    *bounded("apgd", APGD(steps=20), INF, {
        "torchattacks": torchattacks(lambda ta, model: ta.APGD(model, "Linf", INF.eps, 20)),
        "adv-lib": adv_lib(lambda al, *task: al.apgd(*task, INF.eps, math.inf, False, 20, 1, "ce")),
    }, accuracy_within(0.01)),
    *bounded("apgd", APGD(steps=20), TWO, {
        "torchattacks": torchattacks(lambda ta, model: ta.APGD(model, "L2", TWO.eps, 20)),
        "adv-lib": adv_lib(lambda al, *task: al.apgd(*task, TWO.eps, 2, False, 20, 1, "ce")),
    }, accuracy_within(0.01)),
    *bounded("apgd_l1", APGDL1(steps=50), ONE, {
        "adv-lib": adv_lib(
            lambda al, *task: al.apgd(*task, ONE.eps, 1, False, 50, 1, "ce", use_large_reps=True)
        ),
    }, accuracy_within(0.02)),
    *bounded("apgd-t", APGD(steps=20, targets=9, loss="dlr"), INF, {
        "torchattacks": torchattacks(lambda ta, model: ta.APGDT(model, "Linf", INF.eps, 20)),
        "adv-lib": adv_lib(lambda al, *task: al.apgd_targeted(*task, INF.eps, math.inf, n_iter=20)),
    }, accuracy_within(0.01)),
    *bounded("square", Square(queries=300), INF, {
        "torchattacks": torchattacks(
            lambda ta, model: ta.Square(model, "Linf", INF.eps, 300, resc_schedule=False)
        ),
        "art": art(lambda a, classifier, batch: a.SquareAttack(
            classifier, eps=INF.eps, max_iter=300, nb_restarts=1, batch_size=batch, verbose=False
        )),
    }, accuracy_within(0.03)),
    *bounded("square", Square(queries=300), TWO, {
        "torchattacks": torchattacks(
            lambda ta, model: ta.Square(model, "L2", TWO.eps, 300, resc_schedule=False)
        ),
    }, accuracy_within(0.03)),
    *nearest("deepfool", DeepFool(), ANY_L2, {
        "foolbox": foolbox(lambda fb: fb.attacks.L2DeepFoolAttack()),
        "adv-lib": adv_lib(lambda al, *task: al.df(*task, steps=50)),
    }, median_within(1.02)),
    *nearest("deepfool", DeepFool(), ANY_LINF, {
        "foolbox": foolbox(lambda fb: fb.attacks.LinfDeepFoolAttack()),
        "adv-lib": adv_lib(lambda al, *task: al.df(*task, steps=50, norm=math.inf)),
    }, median_within(1.05)),
    *nearest("ddn", DDN(), ANY_L2, {
        "foolbox": foolbox(lambda fb: fb.attacks.DDNAttack()),
        "adv-lib": adv_lib(lambda al, *task: al.ddn(*task, levels=None)),
    }, median_within(1.01)),
    *nearest("cw", CW(steps=50, rounds=5, c=1.0), ANY_L2, {
        "foolbox": foolbox(
            lambda fb: fb.attacks.L2CarliniWagnerAttack(5, 50, stepsize=0.01, initial_const=1.0)
        ),
        "adv-lib": adv_lib(lambda al, *task: al.carlini_wagner_l2(
            *task, initial_const=1.0, binary_search_steps=5, max_iterations=50
        )),
    }, median_within(1.01)),
    *nearest("fab", FAB(steps=10, targets=3), ANY_L2, {
        "adv-lib": adv_lib(lambda al, *task: al.fab(*task, 2, 10)),
    }, median_within(1.01)),
    *nearest("fab", FAB(steps=10, targets=3), ANY_LINF, {
        "adv-lib": adv_lib(lambda al, *task: al.fab(*task, math.inf, 10)),
    }, median_within(1.01)),
    *nearest("fab", FAB(steps=10, targets=3), ANY_L1, {
        "adv-lib": adv_lib(lambda al, *task: al.fab(*task, 1, 10)),
    }, median_within(1.01)),
    *nearest("fmn", FMN(steps=60), ANY_LINF, {
        "foolbox": foolbox(lambda fb: fb.attacks.LInfFMNAttack(steps=60)),
        "adv-lib": adv_lib(lambda al, *task: al.fmn(*task, math.inf, steps=60)),
    }, median_within(1.01)),
    *nearest("fmn", FMN(steps=60), ANY_L2, {
        "foolbox": foolbox(lambda fb: fb.attacks.L2FMNAttack(steps=60)),
        "adv-lib": adv_lib(lambda al, *task: al.fmn(*task, 2, steps=60)),
    }, median_within(1.01)),
    *nearest("fmn", FMN(steps=60), ANY_L1, {
        "foolbox": foolbox(lambda fb: fb.attacks.L1FMNAttack(steps=60)),
        "adv-lib": adv_lib(lambda al, *task: al.fmn(*task, 1, steps=60)),
    }, median_within(1.01)),
    *nearest("fmn", FMN(steps=60), ANY_L0, {
        "foolbox": foolbox(lambda fb: fb.attacks.L0FMNAttack(steps=60)),
        "adv-lib": adv_lib(lambda al, *task: al.fmn(*task, 0, steps=60)),
    }, median_within(1.0)),
    *nearest("ead", EAD(steps=50, rounds=5), ANY_L1, {
        "foolbox": foolbox(lambda fb: fb.attacks.EADAttack(5, 50, decision_rule="L1")),
    }, median_within(1.02)),
    *nearest("sigma_zero", SigmaZero(steps=100), ANY_L0, {
        "adv-lib": adv_lib(lambda al, *task: al.sigma_zero(*task, num_steps=100)),
    }, median_within(1.0)),
    *nearest("hop_skip_jump", HopSkipJump(steps=5, samples=50), ANY_L2, {
        "foolbox": foolbox(
            lambda fb: fb.attacks.HopSkipJumpAttack(steps=5, initial_gradient_eval_steps=50)
        ),
    }, median_within(1.1), images=32),
]
# fmt: on


@pytest.fixture(scope="module")
def subject(digits: Dataset) -> Subject:
    return trained(digits, IMAGES)


@pytest.mark.parametrize(("peer", "ours", "theirs", "threat", "measure", "images"), CASES)
def test_we_are_as_good_as_the_peer(
    peer: str,
    ours: Call,
    theirs: Call,
    threat: ThreatModel,
    measure: Measure,
    images: int,
    subject: Subject,
) -> None:
    if not peers.installed(peer):
        pytest.skip(f"{peer} is not installed; see the extra `peers` in pyproject.toml")
    attacked = part(subject, images)
    arguments = (attacked.model, attacked.images, attacked.labels, images)
    measure(attacked, threat, ours(*arguments), theirs(*arguments))


def test_attacks_of_unlike_strength_differ_on_the_subject(subject: Subject) -> None:
    """Or else the cases above would hold for any attack."""
    found = [
        attack.run(subject.model, subject.images, subject.labels, INF).images
        for attack in (FGSM(), PGD(steps=20))
    ]
    clean, fgsm, pgd = (
        correct(subject.model, images, subject.labels).double().mean().item()
        for images in (subject.images, *found)
    )
    assert clean > 0.9
    assert fgsm < clean - 0.1
    assert 0.1 < pgd < fgsm - 0.03
