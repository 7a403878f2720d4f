"""Attacks: one file each, on the shared wrapper `Attack.run`."""

from robustlab.attacks.apgd import APGD
from robustlab.attacks.apgd_l1 import APGDL1
from robustlab.attacks.base import Attack
from robustlab.attacks.batch import Quantize
from robustlab.attacks.bpda import BPDA
from robustlab.attacks.corruption import Corruption
from robustlab.attacks.criteria import Criterion, Misclassified, Observation, Targeted, as_criterion
from robustlab.attacks.cw import CW
from robustlab.attacks.ddn import DDN
from robustlab.attacks.deepfool import DeepFool
from robustlab.attacks.distance_search import DistanceSearch
from robustlab.attacks.ead import EAD
from robustlab.attacks.fab import FAB
from robustlab.attacks.fgsm import FGSM
from robustlab.attacks.flip_search import FlipSearch
from robustlab.attacks.fmn import FMN
from robustlab.attacks.freezing import frozen
from robustlab.attacks.gaussian_noise import GaussianNoise
from robustlab.attacks.gradient_attack import GradientAttack
from robustlab.attacks.gradients import (
    BPDAGradient,
    EOTGradient,
    ExactGradient,
    FiniteDifferences,
    Gradient,
    GradientQuery,
    SmoothedGradient,
    SPSAGradient,
    SurrogateGradient,
)
from robustlab.attacks.hop_skip_jump import HopSkipJump
from robustlab.attacks.if_masked import IfMasked
from robustlab.attacks.if_shattered import IfShattered
from robustlab.attacks.literal_clamp import FGSMLiteralClamp
from robustlab.attacks.margin_search import MarginSearch
from robustlab.attacks.mi_fgsm import MIFGSM
from robustlab.attacks.pgd import PGD
from robustlab.attacks.query_result import QueryResult
from robustlab.attacks.random_points import RandomPoints
from robustlab.attacks.rays import RayS
from robustlab.attacks.restarts import Restarts
from robustlab.attacks.result import AttackResult
from robustlab.attacks.rotation_translation import RotationTranslation
from robustlab.attacks.session import Session
from robustlab.attacks.sigma_zero import SigmaZero
from robustlab.attacks.sparse_rs import SparseRS
from robustlab.attacks.spsa import SPSA
from robustlab.attacks.square import Square
from robustlab.attacks.steepest_min_norm import SteepestMinNorm

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
    "BPDAGradient",
    "Corruption",
    "Criterion",
    "DeepFool",
    "DistanceSearch",
    "EOTGradient",
    "ExactGradient",
    "FGSMLiteralClamp",
    "FiniteDifferences",
    "FlipSearch",
    "GaussianNoise",
    "Gradient",
    "GradientAttack",
    "GradientQuery",
    "HopSkipJump",
    "IfMasked",
    "IfShattered",
    "MarginSearch",
    "Misclassified",
    "Observation",
    "Quantize",
    "QueryResult",
    "RandomPoints",
    "RayS",
    "Restarts",
    "RotationTranslation",
    "SPSAGradient",
    "Session",
    "SigmaZero",
    "SmoothedGradient",
    "SparseRS",
    "Square",
    "SteepestMinNorm",
    "SurrogateGradient",
    "Targeted",
    "as_criterion",
    "frozen",
]
