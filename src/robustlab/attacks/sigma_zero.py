"""Few changed values by gradient descent (sigma-zero, Cinà et al. 2025, arXiv:2402.01879).

Budget: `steps` gradients.
"""

from dataclasses import dataclass
from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor

from robustlab.attacks.gradient_attack import GradientAttack
from robustlab.attacks.gradients import ExactGradient, Gradient
from robustlab.attacks.schedules import adam, cosine
from robustlab.attacks.session import Session
from robustlab.core.spec import register
from robustlab.threats import per_image

_LAST_STEP = 0.1


@register("sigma_zero")
class SigmaZero(GradientAttack):
    """Minimises a smooth count of the changed values; sets small changes back to zero after a success."""

    norms = ("l0",)
    minimum_norm = True

    steps: Annotated[int, Field(ge=1)] = 1000
    step_size: Annotated[float, Field(gt=0.0)] = 1.0
    """The first step's length for the value with the largest gradient; the last step is a tenth of it."""
    sigma: Annotated[float, Field(gt=0.0)] = 1e-3
    """The smoothness of the count: a change of ``sqrt(sigma)`` counts as a half."""
    threshold: Annotated[float, Field(ge=0.0, le=1.0)] = 0.3
    """The initial threshold; smaller changes are set back to zero."""
    threshold_step: Annotated[float, Field(gt=0.0)] = 0.01
    """By which share of the step length the threshold rises after a success, and falls otherwise."""
    gradient: Gradient = ExactGradient()

    @property
    def passes(self) -> int:
        return self.steps

    def search(self, session: Session) -> None:
        state = _State(
            moves=torch.zeros_like(session.clean),
            gradient=session.clean,
            mean=torch.zeros_like(session.clean),
            square=torch.zeros_like(session.clean),
            threshold=torch.full_like(session.eps, self.threshold),
            reached=torch.zeros_like(session.labels, dtype=torch.bool),
        )
        length = self.step_size
        for step in range(self.steps):
            result = session.query(session.clean + state.moves, "margin", gradient=True)
            wish = torch.where(per_image(result.losses < 0, state.moves), result.ascent, 0.0)
            state.gradient, state.reached = wish - self._count_slope(state.moves), result.reached
            state = session.unfinished(state)
            if session.finished:
                return
            moved = session.clean + state.moves + length * adam(state, _largest_one(state.gradient), step + 1)
            state.moves = moved.clamp(0.0, 1.0) - session.clean
            length = self.step_size * cosine(1.0, _LAST_STEP, step / self.steps)
            rise = torch.where(state.reached, 1.0, -1.0) * self.threshold_step * length
            state.threshold = (state.threshold + rise).clamp(0.0, 1.0)
            small = state.moves.abs() < per_image(state.threshold, state.moves)
            state.moves = torch.where(small, 0.0, state.moves)
        session.query(session.clean + state.moves, "margin")

    def _count_slope(self, moves: Tensor) -> Tensor:
        """Return the gradient of the mean over the values of ``move^2 / (move^2 + sigma)``."""
        return 2 * self.sigma * moves / (moves.square() + self.sigma).square() / max(1, moves[0].numel())


@dataclass
class _State:
    """The values that sigma-zero keeps for each active image."""

    moves: Tensor
    gradient: Tensor
    mean: Tensor
    square: Tensor
    threshold: Tensor
    reached: Tensor


def _largest_one(gradient: Tensor) -> Tensor:
    largest = gradient.flatten(1).abs().amax(dim=1)
    return gradient / per_image(largest.clamp(min=1e-12), gradient)
