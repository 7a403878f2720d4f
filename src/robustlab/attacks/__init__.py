"""Attacks: one file each, on the shared wrapper `Attack.run`."""

from robustlab.attacks.apgd import APGD
from robustlab.attacks.apgd_l1 import APGDL1
from robustlab.attacks.base import Attack, AttackResult, frozen
from robustlab.attacks.batch import Realise
from robustlab.attacks.bpda import BPDA
from robustlab.attacks.corruption import Corruption
from robustlab.attacks.counted_model import QueryResult
from robustlab.attacks.cw import CW
from robustlab.attacks.ddn import DDN
from robustlab.attacks.deepfool import DeepFool
from robustlab.attacks.ead import EAD
from robustlab.attacks.fab import FAB
from robustlab.attacks.fgsm import FGSM
from robustlab.attacks.fmn import FMN
from robustlab.attacks.focused import Focused
from robustlab.attacks.gaussian_noise import GaussianNoise
from robustlab.attacks.hop_skip_jump import HopSkipJump
from robustlab.attacks.literal_clamp import FGSMLiteralClamp
from robustlab.attacks.mi_fgsm import MIFGSM
from robustlab.attacks.nearest import Nearest
from robustlab.attacks.pgd import PGD
from robustlab.attacks.random_points import RandomPoints
from robustlab.attacks.restarts import Restarts
from robustlab.attacks.rotation_translation import RotationTranslation
from robustlab.attacks.session import Session
from robustlab.attacks.sigma_zero import SigmaZero
from robustlab.attacks.smoothed import Smoothed
from robustlab.attacks.spsa import SPSA
from robustlab.attacks.square import Square
from robustlab.attacks.where_masked import WhereMasked
from robustlab.core.options import Mode

__all__ = [
    "APGD",
    "APGDL1",
    "BPDA",
    "CW",
    "DDN",
    "EAD",
    "FAB",
    "FGSM",
    "FMN",
    "MIFGSM",
    "PGD",
    "SPSA",
    "Attack",
    "AttackResult",
    "Corruption",
    "DeepFool",
    "FGSMLiteralClamp",
    "Focused",
    "GaussianNoise",
    "HopSkipJump",
    "Mode",
    "Nearest",
    "QueryResult",
    "RandomPoints",
    "Realise",
    "Restarts",
    "RotationTranslation",
    "Session",
    "SigmaZero",
    "Smoothed",
    "Square",
    "WhereMasked",
    "frozen",
]
