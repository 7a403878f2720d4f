"""Training objectives: one file each."""

from robustlab.training.objectives.adversarial import AdversarialObjective
from robustlab.training.objectives.base import Objective
from robustlab.training.objectives.cross_entropy import CrossEntropy
from robustlab.training.objectives.fgsm_training import FGSMTraining
from robustlab.training.objectives.gan_loss import GanLoss
from robustlab.training.objectives.pgd_training import PGDTraining
from robustlab.training.objectives.trades import Trades
from robustlab.training.objectives.vae_loss import VaeLoss

__all__ = [
    "AdversarialObjective",
    "CrossEntropy",
    "FGSMTraining",
    "GanLoss",
    "Objective",
    "PGDTraining",
    "Trades",
    "VaeLoss",
]
