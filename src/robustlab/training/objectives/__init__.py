"""Training objectives: one file each."""

from robustlab.training.objectives.adversarial import AdversarialObjective
from robustlab.training.objectives.alternating import Alternating
from robustlab.training.objectives.awp import AWP
from robustlab.training.objectives.base import Objective
from robustlab.training.objectives.certified import CertifiedObjective
from robustlab.training.objectives.consistency import Consistency
from robustlab.training.objectives.cross_entropy import CrossEntropy
from robustlab.training.objectives.crown_ibp_training import CROWNIBPTraining
from robustlab.training.objectives.denoising import Denoising
from robustlab.training.objectives.diffusion_loss import DiffusionLoss
from robustlab.training.objectives.eps_ramp import EpsRamp
from robustlab.training.objectives.fgsm_training import FGSMTraining
from robustlab.training.objectives.gan_loss import GanLoss
from robustlab.training.objectives.ibp_training import IBPTraining
from robustlab.training.objectives.mart import Mart
from robustlab.training.objectives.mixed import Mixed
from robustlab.training.objectives.msd import MSD
from robustlab.training.objectives.noise_training import NoiseTraining
from robustlab.training.objectives.pgd_training import PGDTraining
from robustlab.training.objectives.purifying import Purifying
from robustlab.training.objectives.radius_training import RadiusTraining
from robustlab.training.objectives.sabr import SABR
from robustlab.training.objectives.trades import Trades
from robustlab.training.objectives.vae_loss import VaeLoss

__all__ = [
    "AWP",
    "MSD",
    "SABR",
    "AdversarialObjective",
    "Alternating",
    "CROWNIBPTraining",
    "CertifiedObjective",
    "Consistency",
    "CrossEntropy",
    "Denoising",
    "DiffusionLoss",
    "EpsRamp",
    "FGSMTraining",
    "GanLoss",
    "IBPTraining",
    "Mart",
    "Mixed",
    "NoiseTraining",
    "Objective",
    "PGDTraining",
    "Purifying",
    "RadiusTraining",
    "Trades",
    "VaeLoss",
]
