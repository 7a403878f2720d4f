"""Learning-rate schedules: one file each."""

from robustlab.training.schedules.base import Schedule
from robustlab.training.schedules.constant import Constant
from robustlab.training.schedules.cosine import Cosine
from robustlab.training.schedules.milestones import Milestones
from robustlab.training.schedules.triangle import Triangle
from robustlab.training.schedules.warmup import Warmup

__all__ = ["Constant", "Cosine", "Milestones", "Schedule", "Triangle", "Warmup"]
