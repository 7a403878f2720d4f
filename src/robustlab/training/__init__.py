"""Training: one resumable loop, and the units that a recipe of a training is made of."""

from robustlab.training.augmentations import Augmentation, HorizontalFlip, Shift
from robustlab.training.averaging import EMA, Averaging
from robustlab.training.config import TrainConfig
from robustlab.training.job import TrainingJob
from robustlab.training.loop import History, train
from robustlab.training.objectives import (
    AWP,
    MSD,
    SABR,
    AdversarialObjective,
    Alternating,
    CertifiedObjective,
    Consistency,
    CrossEntropy,
    CROWNIBPTraining,
    Denoising,
    DiffusionLoss,
    EpsRamp,
    FGSMTraining,
    GanLoss,
    IBPTraining,
    Mart,
    Mixed,
    NoiseTraining,
    Objective,
    PGDTraining,
    Purifying,
    RadiusTraining,
    Trades,
    VaeLoss,
)
from robustlab.training.optimizers import SGD, Adam, Optimizer
from robustlab.training.robust_validation import RobustValidation
from robustlab.training.schedules import Constant, Cosine, Milestones, Schedule, Triangle, Warmup
from robustlab.training.step import TrainingStep

__all__ = [
    "AWP",
    "EMA",
    "MSD",
    "SABR",
    "SGD",
    "Adam",
    "AdversarialObjective",
    "Alternating",
    "Augmentation",
    "Averaging",
    "CROWNIBPTraining",
    "CertifiedObjective",
    "Consistency",
    "Constant",
    "Cosine",
    "CrossEntropy",
    "Denoising",
    "DiffusionLoss",
    "EpsRamp",
    "FGSMTraining",
    "GanLoss",
    "History",
    "HorizontalFlip",
    "IBPTraining",
    "Mart",
    "Milestones",
    "Mixed",
    "NoiseTraining",
    "Objective",
    "Optimizer",
    "PGDTraining",
    "Purifying",
    "RadiusTraining",
    "RobustValidation",
    "Schedule",
    "Shift",
    "Trades",
    "TrainConfig",
    "TrainingJob",
    "TrainingStep",
    "Triangle",
    "VaeLoss",
    "Warmup",
    "train",
]
