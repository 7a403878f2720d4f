"""Multi steepest descent (Maini, Wong & Kolter 2020, arXiv:1909.04068): one network against several norms."""

from dataclasses import replace
from typing import Annotated

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor

from robustlab.core.spec import PixelDistance, PixelLength, register
from robustlab.threats import L1, L2, Linf, ThreatModel
from robustlab.threats.base import per_image
from robustlab.training.objectives.adversarial import AdversarialObjective, searching
from robustlab.training.step import TrainingStep


@register("msd")
class MSD(AdversarialObjective):
    """Cross-entropy on the worst images of a union of balls; an eps of 0 leaves a ball out.

    From each point of the search one step of steepest ascent is taken per norm and projected into that
    norm's ball. Of these points each image gets the one with the highest loss. The search begins at the clean
    image, with the network in eval mode, as in the paper's algorithm 1.
    """

    linf: PixelLength = 0.3
    """The eps of the Linf ball."""
    l2: PixelDistance = 2.0
    """The eps of the L2 ball."""
    l1: PixelDistance = 10.0
    """The eps of the L1 ball."""
    steps: Annotated[int, Field(ge=1)] = 10
    rel_step_size: Annotated[float, Field(gt=0.0)] = 0.25
    """Step length as a fraction of each eps."""

    def __post_init__(self) -> None:
        if not self.threats:
            raise ValueError("one of linf, l2 and l1 must be above 0")

    @property
    def threats(self) -> tuple[ThreatModel, ...]:
        """The balls."""
        balls: tuple[ThreatModel, ...] = (Linf(eps=self.linf), L2(eps=self.l2), L1(eps=self.l1))
        return tuple(ball for ball in balls if ball.eps > 0)

    def perturbed(self, step: TrainingStep) -> Tensor:
        points = step.images
        with searching(step, train_mode=False):
            for _ in range(self.steps):
                points = self._worst(step, points)
        return points

    def with_share_of_eps(self, share: float) -> AdversarialObjective:
        return replace(self, linf=share * self.linf, l2=share * self.l2, l1=share * self.l1)

    def _worst(self, step: TrainingStep, points: Tensor) -> Tensor:
        """Return per image the worst of the points that a step in each norm leads to."""
        points = points.detach().requires_grad_()
        loss = F.cross_entropy(step.network(points).float(), step.labels, reduction="sum")
        (gradient,) = torch.autograd.grad(loss, points)
        best, highest = points.detach(), torch.full_like(step.labels, -torch.inf, dtype=torch.float32)
        for threat in self.threats:
            moved = threat.project(threat.ascend(points.detach(), gradient, self.rel_step_size), step.images)
            with torch.no_grad():
                losses = F.cross_entropy(step.network(moved).float(), step.labels, reduction="none")
            higher = losses > highest
            best = torch.where(per_image(higher, best), moved, best)
            highest = torch.maximum(highest, losses)
        return best
