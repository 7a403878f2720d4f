"""Decoupled direction and norm (Rony et al. 2019, arXiv:1811.09600). Budget: `steps` gradients."""

from typing import Annotated

import torch
from pydantic import Field

from robustlab.attacks.gradient_attack import GradientAttack
from robustlab.attacks.gradients import ExactGradient, Gradient
from robustlab.attacks.schedules import cosine
from robustlab.attacks.session import Session
from robustlab.core.spec import PixelDistance, register
from robustlab.threats import per_image

_LAST_STEP = 0.01


@register("ddn")
class DDN(GradientAttack):
    """Steps along the gradient, projected onto a sphere that shrinks on success and grows otherwise."""

    norms = ("l2",)
    minimum_norm = True

    steps: Annotated[int, Field(ge=1)] = 100
    gamma: Annotated[float, Field(gt=0.0, lt=1.0)] = 0.05
    """By which fraction the sphere's radius changes in a step."""
    radius: PixelDistance = 1.0
    """The L2 radius of the sphere at the start, on the pixel scale."""
    gradient: Gradient = ExactGradient()

    @property
    def passes(self) -> int:
        return self.steps

    def search(self, session: Session) -> None:
        moves, radius = torch.zeros_like(session.clean), torch.full_like(session.eps, self.radius)
        points, shape = session.clean, tuple(session.clean.shape[1:])
        for step in range(self.steps):
            result = session.query(points, gradient=True)
            kept = moves, radius, result.ascent, result.reached
            moves, radius, gradient, reached = session.unfinished(*kept)
            if session.finished:
                return
            length, ones = cosine(1.0, _LAST_STEP, step / self.steps), torch.ones_like(radius)
            # If the gradient is zero, any direction is as good as another.
            flat = gradient.flatten(1).abs().amax(dim=1) == 0
            if flat.any():
                noise = session.normal("flat", step, shape=shape)
                gradient = torch.where(per_image(flat, gradient), noise, gradient)
            moves = session.threat.ascend(moves, gradient, length, ones)
            radius = radius * torch.where(reached, 1 - self.gamma, 1 + self.gamma)
            norm = session.threat.distance(moves, torch.zeros_like(moves)).clamp(min=1e-12)
            points = (session.clean + moves * per_image(radius / norm, moves)).clamp(0.0, 1.0)
            moves = points - session.clean
        session.query(points)
