"""Optimizers: one file each."""

from robustlab.training.optimizers.adam import Adam
from robustlab.training.optimizers.base import Optimizer
from robustlab.training.optimizers.sgd import SGD

__all__ = ["SGD", "Adam", "Optimizer"]
