"""SPSA: gradients from random differences (Uesato et al. 2018, arXiv:1802.05666).

Budget: steps * (2 * pairs + 1) forward passes. It uses no gradients of the classifier, so masked gradients do
not stop it.
"""

from typing import Annotated

import torch
from pydantic import Field

from robustlab.attacks.base import Attack
from robustlab.attacks.gradients import Gradient, SPSAGradient
from robustlab.attacks.losses import Loss
from robustlab.attacks.session import Session
from robustlab.core.spec import PixelLength, register

_DECAY = 0.9


@register("spsa")
class SPSA(Attack):
    """Steepest ascent along a decaying sum of estimates, from the differences of random opposite points.

    The paper uses Adam with a fixed step length; here the step depends on eps and the norm.
    """

    norms = ("linf", "l2")
    exact = True
    needs_gradient = False

    steps: Annotated[int, Field(ge=1)] = 40
    pairs: Annotated[int, Field(ge=1)] = 64
    """Pairs of points for each gradient."""
    delta: PixelLength = 0.01
    """How far each pixel of a pair's points lies from the point of the gradient, on the pixel scale."""
    rel_step_size: Annotated[float, Field(gt=0.0)] = 0.1
    """Step length as a fraction of eps."""
    loss: Loss = "margin"

    @property
    def estimator(self) -> Gradient:
        return SPSAGradient(pairs=self.pairs, delta=self.delta)

    @property
    def passes(self) -> int:
        return self.steps

    def search(self, session: Session) -> None:
        # At clean black pixels a step of delta may not change the network's output.
        points = session.random_start()
        mean = torch.zeros_like(points)
        for _ in range(self.steps):
            points, mean = session.unfinished(points, mean)
            if session.finished:
                return
            mean = _DECAY * mean + session.gradient(points, self.loss, propose=False)
            points = session.ascend(points, mean, self.rel_step_size)
            session.query(points, self.loss)
