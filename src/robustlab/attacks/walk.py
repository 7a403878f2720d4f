"""The state of a search that walks along the boundary of a class, and the nearest success on its way."""

from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor

from robustlab.attacks.best_so_far import masked_write
from robustlab.attacks.session import Session


@dataclass
class Walk:
    """A walk for each active image.

    Attributes:
        points: (n, C, H, W) where it is.
        toward: (n,) the class that it moves towards; None: any.
        nearest: (n, C, H, W) the nearest success; the clean image before the first one.
        distance: (n,) its distance; infinite before the first one.
        radius: (n,) of the ball that it stays in.
        length: (n,) the L2 length of its first step, on the pixel scale.
        losses, reached, gradient: what the classifier answered last.
    """

    points: Tensor
    toward: Tensor | None
    nearest: Tensor
    distance: Tensor
    radius: Tensor
    length: Tensor
    losses: Tensor
    reached: Tensor
    gradient: Tensor

    @classmethod
    def start(cls, session: Session) -> Self:
        """Return walks that begin at the clean images, without a success, with steps of length 1."""
        zeros, endless = torch.zeros_like(session.eps), torch.full_like(session.eps, torch.inf)
        return cls(
            points=session.clean,
            toward=None,
            nearest=session.clean.clone(),
            distance=endless,
            radius=torch.ones_like(zeros) if session.threat.discrete else endless,
            length=torch.ones_like(zeros),
            losses=zeros,
            reached=torch.zeros_like(session.labels, dtype=torch.bool),
            gradient=session.clean,
        )

    def evaluate(self, session: Session, *, gradient: bool = True) -> Self:
        """Evaluate the points, and note successes; one pass, or a gradient.

        Returns:
            The walk of the images that are not finished.
        """
        result = session.query(self.points, "margin", toward=self.toward, gradient=gradient)
        self.losses, self.reached = result.losses, result.reached
        if gradient:
            self.gradient = result.ascent
        self.note(session)
        return session.unfinished(self)

    def note(self, session: Session) -> Tensor:
        """Keep the points where they are nearer successes, and return their distances (n,)."""
        distance = session.threat.distance(self.points, session.clean)
        nearer = self.reached & (distance < self.distance)
        masked_write(self.nearest, torch.arange(len(nearer), device=nearer.device), self.points, nearer)
        self.distance = torch.where(nearer, distance, self.distance)
        return distance
