"""Momentum iterative FGSM (Dong et al. 2018, arXiv:1710.06081), with methods for better transfer.

Budget: steps gradients, and one forward pass. Use ``gradient=surrogates`` for a transfer attack.
"""

from types import MappingProxyType
from typing import Annotated

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor

from robustlab.attacks.gradient_attack import GradientAttack
from robustlab.attacks.gradients import ExactGradient, Gradient
from robustlab.attacks.losses import Loss
from robustlab.attacks.session import Session
from robustlab.attacks.warp import warp
from robustlab.core.spec import register
from robustlab.threats import per_image

_SMALLEST = 0.9
"""The smallest size to which input diversity shrinks an image, as a share of its side: 299/331 in the
paper."""


@register("mi_fgsm")
class MIFGSM(GradientAttack):
    """Steps of length eps / steps along a decaying sum of normalised gradients."""

    replaced = MappingProxyType({"transfer": "mi_fgsm(gradient=surrogates)"})

    steps: Annotated[int, Field(ge=1)] = 10
    decay: Annotated[float, Field(ge=0.0)] = 1.0
    """The share of the mean gradient that is kept from step to step."""
    diversity: Annotated[float, Field(ge=0.0, le=1.0)] = 0.0
    """The probability that the image is shrunk and padded for a gradient (DI, Xie et al.,
    arXiv:1803.06978)."""
    kernel: Annotated[int, Field(ge=0)] = 0
    """How many pixels to each side gradients are smoothed over (TI, Dong et al. 2019, arXiv:1904.02884)."""
    loss: Loss = "cross_entropy"
    gradient: Gradient = ExactGradient()

    @property
    def passes(self) -> int:
        return self.steps + 1

    def search(self, session: Session) -> None:
        points, momentum = session.clean, torch.zeros_like(session.clean)
        for step in range(self.steps):
            points, momentum = session.unfinished(points, momentum)
            if session.finished:
                return
            gradient = self._gradient(session, points, step)
            if self.kernel:
                gradient = _smoothed(gradient, self.kernel)
            scale = gradient.flatten(1).abs().mean(dim=1).clamp(min=1e-12)
            momentum = self.decay * momentum + gradient / per_image(scale, gradient)
            points = session.ascend(points, momentum, 1 / self.steps)
        session.propose(points, self.loss)

    def _gradient(self, session: Session, points: Tensor, step: int) -> Tensor:
        if not self.diversity:
            return session.gradient(points, self.loss)
        chance, size, *place = session.uniform("diversity", step, shape=(4,)).unbind(dim=1)
        scale = torch.where(chance < self.diversity, _SMALLEST + (1 - _SMALLEST) * size, 1.0)
        sides = points.new_tensor([points.shape[3], points.shape[2]])
        shift = (torch.stack(place, dim=1) - 0.5) * sides * (1 / scale - 1)[:, None]
        matrix = torch.eye(2, device=points.device) / per_image(scale, points[:, 0])
        leaf = points.detach().requires_grad_()
        with torch.enable_grad():
            seen = warp(leaf, matrix, shift)
        gradient = session.gradient(seen.detach(), self.loss, propose=False)
        (pulled,) = torch.autograd.grad(seen, leaf, gradient)
        return pulled


def _smoothed(gradient: Tensor, reach: int) -> Tensor:
    """Smooth each channel with a Gaussian of standard deviation ``reach / 3``, in pixels."""
    line = torch.arange(-reach, reach + 1, dtype=gradient.dtype, device=gradient.device) * (3 / reach)
    bell = (-0.5 * line**2).exp()
    bell = bell / bell.sum()
    single = gradient.flatten(0, 1)[:, None]
    rows = F.conv2d(single, bell[None, None, :, None], padding=(reach, 0))
    return F.conv2d(rows, bell[None, None, None, :], padding=(0, reach)).view_as(gradient)
