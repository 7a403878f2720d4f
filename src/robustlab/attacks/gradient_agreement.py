"""How much gradients around an image agree. Where they disagree they are shattered and useless for a step."""

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor

from robustlab.attacks.gradients import ExactGradient
from robustlab.attacks.gradients.smoothed import STD
from robustlab.attacks.session import Session
from robustlab.threats import per_image

LOOKS = 6
"""The number of gradients around an image that are compared with each other."""

AGREED = 0.4
"""The smallest agreement of useful gradients. On MNIST at most 0.6 % of the images were below, also on a
network on which gradients mislead; behind a sine of fifty periods about 98 % were (LOG.md, "Shattered
gradients")."""


@dataclass(frozen=True, kw_only=True)
class Agreement:
    """How similar the gradients around each of n images are.

    Attributes:
        cosine: (n,) the mean cosine between two of them; it is 0 for a gradient of zeros.
        silent: (n,) whether one of them is zero.
    """

    cosine: Tensor
    silent: Tensor

    @property
    def shattered(self) -> Tensor:
        """(n,) whether gradients are not zero, and disagree."""
        return (self.cosine < AGREED) & ~self.silent


def agreement(session: Session) -> Agreement:
    """Return how much the margin's gradients around each active image agree; `LOOKS` gradients for each."""

    def look(number: int) -> Tensor:
        noise = session.normal("look", number, shape=tuple(session.clean.shape[1:]))
        points = (session.clean + STD * noise).clamp(0, 1)
        return session.query(points, "margin", gradient=True, propose=False).ascent

    with session.estimating(ExactGradient()):
        return compared(map(look, range(LOOKS)))


def compared(gradients: Iterable[Tensor]) -> Agreement:
    """Return how much gradients agree: at least two, each (n, C, H, W), in any order."""
    total: Tensor | float = 0.0
    silent: Tensor | bool = False
    loud: Tensor | int = 0
    count = 0
    for gradient in gradients:
        count += 1
        largest = gradient.flatten(1).abs().amax(dim=1)
        silent, loud = silent | (largest == 0), loud + (largest > 0)
        # First scale to a size whose square neither overflows nor underflows.
        sized = gradient / per_image(torch.where(largest > 0, largest, 1.0), gradient)
        total = total + sized / per_image(sized.flatten(1).norm(dim=1).clamp(min=1.0), sized)
    # The squared length of a sum of k unit vectors is k plus the sum of the cosines of all ordered pairs.
    square = torch.as_tensor(total).flatten(1).square().sum(dim=1)
    return Agreement(cosine=(square - loud) / (count * (count - 1)), silent=torch.as_tensor(silent))
