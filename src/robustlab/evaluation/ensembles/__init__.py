"""Ensembles: named lists of attacks, one file each."""

from robustlab.evaluation.ensembles.autoattack import AutoAttack
from robustlab.evaluation.ensembles.base import Ensemble
from robustlab.evaluation.ensembles.listing import Attacks, attack_effort, attack_list, resolved, with_effort
from robustlab.evaluation.ensembles.standard import Standard

__all__ = [
    "Attacks",
    "AutoAttack",
    "Ensemble",
    "Standard",
    "attack_effort",
    "attack_list",
    "resolved",
    "with_effort",
]
