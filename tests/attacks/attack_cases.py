"""Every attack in every threat model it is made for, and what it is tried on."""

import dataclasses
from functools import partial
from typing import Any

import pytest
import torch
from torch import nn

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
    SPSA,
    Attack,
    AttackResult,
    Corruption,
    DeepFool,
    DistanceSearch,
    FGSMLiteralClamp,
    FlipSearch,
    GaussianNoise,
    HopSkipJump,
    IfMasked,
    IfShattered,
    MarginSearch,
    RandomPoints,
    RayS,
    Restarts,
    RotationTranslation,
    SigmaZero,
    SparseRS,
    Square,
    SteepestMinNorm,
)
from robustlab.threats import L0, L1, L2, Linf, ThreatModel, Unbounded

DETERMINISTIC: list[Attack] = [
    FGSM(),
    FGSMLiteralClamp(eps=0.25),
    MIFGSM(steps=4),
    RotationTranslation(rotation=20, shift=1, angles=2, shifts=2),
    Corruption(effect="stripe"),
    # Its random numbers count where the gradient is zero, or after a local optimum.
    FlipSearch(steps=4, singles=3),
]
RANDOM: list[Attack] = [
    RotationTranslation(rotation=20, shift=1, draws=4),
    FGSM(random_start=True),
    PGD(steps=5, rel_step_size=0.3),
    PGD(steps=3, rel_step_size=0.5, restarts=3),
    GaussianNoise(std=0.2),
    APGD(steps=5),
    APGDL1(steps=9),
    # Giving up nothing, or else verdict mode would stop before max-loss mode does.
    MarginSearch(survey=2, aims=1, steps=3, rounds=8, patches=7, keep=1.0, tighten=1.0),
    DistanceSearch(survey=5, aims=2, rounds=4, steps=2, keep=10.0, tighten=1.0),
    Square(queries=15),
    SparseRS(queries=25),
    MIFGSM(steps=4, diversity=0.7, kernel=1),
    SPSA(steps=3, pairs=6),
    HopSkipJump(steps=2, samples=10),
    # Of 4x4 values the blocks have one value after about 60 queries; then the order is random.
    RayS(queries=120),
    Corruption(effect="impulse_noise"),
    RandomPoints(count=4),
    RandomPoints(count=4, draw="corners"),
    Restarts(attack=RandomPoints(count=2), times=2),
    IfMasked(attack=Square(queries=15), steps=1, points=20),
    IfMasked(attack=SparseRS(queries=25), steps=1, points=20),
    IfShattered(attack=PGD(steps=3, rel_step_size=0.5), draws=3, agreement=1.0),
    IfShattered(attack=FMN(steps=6), draws=2, agreement=1.0),
]
MINIMAL: list[Attack] = [
    CW(steps=5, binary_search_steps=2),
    DDN(steps=8),
    DeepFool(steps=4),
    EAD(steps=5, binary_search_steps=2),
    FAB(steps=5, targets=2),
    FAB(steps=3, targets=0, restarts=2),
    FMN(steps=8),
    SteepestMinNorm(steps=8),
    SigmaZero(steps=8),
]
ATTACKS = DETERMINISTIC + RANDOM + MINIMAL
THREATS: list[ThreatModel] = [Linf(eps=0.2), L2(eps=0.6), L1(eps=1.5), L0(eps=3), Linf(eps=1.0), Unbounded()]


def made_for(attack: Attack, threat: ThreatModel) -> bool:
    return attack.supports(threat)


def one_for(attack: Attack) -> ThreatModel:
    return next(filter(partial(made_for, attack), THREATS))


PAIRS = [(attack, threat) for threat in THREATS for attack in ATTACKS if made_for(attack, threat)]

every_attack = pytest.mark.parametrize("attack", ATTACKS, ids=map(repr, ATTACKS))
every_pair = pytest.mark.parametrize(("attack", "threat"), PAIRS, ids=[f"{a}-{t}" for a, t in PAIRS])
both_modes = pytest.mark.parametrize("early_stop", [True, False])


def with_mistakes(batch: Any, model: nn.Module) -> Any:
    """The batch, with labels of which the model gets every fifth wrong."""
    with torch.no_grad():
        right = model(batch.images).argmax(dim=1)
    mistaken = torch.arange(len(right)) % 5 == 0
    return dataclasses.replace(batch, labels=torch.where(mistaken, (right + 1) % 3, right))


def run(attack: Attack, model: nn.Module, batch: Any, threat: ThreatModel, **more: Any) -> AttackResult:
    return attack.run(model, batch.images, batch.labels, threat, **{"ids": batch.ids, **more})
