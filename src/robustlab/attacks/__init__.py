"""Attacks: one file each, on the shared wrapper `Attack.run`."""

from robustlab.attacks.apgd import APGD
from robustlab.attacks.base import Attack, AttackResult, frozen
from robustlab.attacks.fgsm import FGSM
from robustlab.attacks.gaussian_noise import GaussianNoise
from robustlab.attacks.literal_clamp import FGSMLiteralClamp
from robustlab.attacks.pgd import PGD
from robustlab.attacks.session import Mode, Reading, Session

__all__ = [
    "APGD",
    "FGSM",
    "PGD",
    "Attack",
    "AttackResult",
    "FGSMLiteralClamp",
    "GaussianNoise",
    "Mode",
    "Reading",
    "Session",
    "frozen",
]
