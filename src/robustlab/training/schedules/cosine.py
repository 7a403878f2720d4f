"""Half a cosine (Loshchilov & Hutter 2017, arXiv:1608.03983, without restarts)."""

import math

from robustlab.core.spec import register
from robustlab.training.schedules.base import Schedule


@register("cosine")
class Cosine(Schedule):
    """From 1 down to 0: half a period of a cosine."""

    def scale(self, progress: float) -> float:
        return (1 + math.cos(math.pi * progress)) / 2
