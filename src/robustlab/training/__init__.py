"""Training: one resumable loop, and the objectives it takes."""

from robustlab.training.loop import History, TrainConfig, train
from robustlab.training.objectives import CrossEntropy, GanLoss, Objective, VaeLoss

__all__ = ["CrossEntropy", "GanLoss", "History", "Objective", "TrainConfig", "VaeLoss", "train"]
