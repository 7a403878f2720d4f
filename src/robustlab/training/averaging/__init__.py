"""Averages of the weights over a training: one file each; `weights` stores an average."""

from robustlab.training.averaging.base import Averaging
from robustlab.training.averaging.ema import EMA
from robustlab.training.averaging.weights import AveragedWeights

__all__ = ["EMA", "AveragedWeights", "Averaging"]
