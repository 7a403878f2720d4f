"""Elastic-net attack (Chen et al. 2018, arXiv:1709.04114), L1 decision rule.

Budget: `steps * binary_search_steps` gradients and twice as many forward passes. Unlike in the paper, the
extrapolated point of FISTA, at which the gradient is taken, stays in [0, 1] too.
"""

from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor

from robustlab.attacks.cw import search_weight
from robustlab.attacks.gradient_attack import GradientAttack
from robustlab.attacks.gradients import ExactGradient, Gradient
from robustlab.attacks.session import Session
from robustlab.core.spec import register
from robustlab.threats import per_image


@register("ead")
class EAD(GradientAttack):
    """FISTA on squared L2 plus beta times L1 distance, minus c times the margin; binary search for c."""

    norms = ("l1",)
    minimum_norm = True

    steps: Annotated[int, Field(ge=1)] = 1000
    binary_search_steps: Annotated[int, Field(ge=1)] = 9
    """How many values of c are tried."""
    lr: Annotated[float, Field(gt=0.0)] = 0.01
    """The length of the first step; it falls as the square root of the remaining steps."""
    initial_const: Annotated[float, Field(gt=0.0)] = 1e-3
    """The weight c of the margin in the first round."""
    beta: Annotated[float, Field(ge=0.0)] = 0.01
    """The weight of the L1 distance; smaller changes of a pixel are undone."""
    confidence: Annotated[float, Field(ge=0.0)] = 0.0
    """The margin, in logits, that a success must exceed."""
    gradient: Gradient = ExactGradient()

    @property
    def passes(self) -> int:
        return 2 * self.steps * self.binary_search_steps

    def search(self, session: Session) -> None:
        search_weight(session, self.initial_const, self.binary_search_steps, self._descend)

    def _descend(self, session: Session, weight: Tensor) -> Tensor:
        reached = torch.zeros_like(session.labels, dtype=torch.bool)
        place = torch.arange(len(weight), device=weight.device)
        points = ahead = session.clean
        for step in range(self.steps):
            result = session.query(ahead, "margin", gradient=True, propose=False)
            pull = torch.where(result.losses < self.confidence, weight, 0.0)
            gradient = 2 * (ahead - session.clean) - per_image(pull, ahead) * result.ascent
            moves = ahead - self.lr * (1 - step / self.steps) ** 0.5 * gradient - session.clean
            moves = moves.sign() * (moves.abs() - self.beta).clamp(min=0.0)
            before, points = points, (session.clean + moves).clamp(0.0, 1.0)
            drift = step / (step + 3) * (points - before)
            ahead = (points + drift).clamp(0.0, 1.0)
            result = session.query(points, "margin")
            reached[place] |= result.reached & (result.losses >= self.confidence)
            place, weight, points, ahead = session.unfinished(place, weight, points, ahead)
            if session.finished:
                break
        return reached
