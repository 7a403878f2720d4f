"""Training: one resumable loop, and the objectives it takes."""

from robustlab.training.loop import History, Schedule, train
from robustlab.training.objectives import AdversarialGame, CrossEntropy, Objective, Reconstruction

__all__ = ["AdversarialGame", "CrossEntropy", "History", "Objective", "Reconstruction", "Schedule", "train"]
