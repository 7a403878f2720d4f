"""The points of a threat model as bounds of the pixels."""

import torch
from torch import Tensor

from robustlab.certify.interval import Ball, Interval
from robustlab.threats import ThreatModel

_TOLERANCE = 1e-5
"""How far a distance measured in float32 may exceed eps in an attack, as a share and on the pixel scale."""


def reach(threat: ThreatModel) -> float:
    """Return the largest distance that an attack within eps may have in exact arithmetic."""
    return float(threat.eps) if threat.discrete else threat.eps * (1 + _TOLERANCE) + _TOLERANCE


def region(images: Tensor, threat: ThreatModel, dtype: torch.dtype) -> Interval:
    """Return the bounds of every allowed image, and the ball that contains them."""
    pixels = images.to(dtype)
    eps = reach(threat)
    free = threat.movable(images.shape[1:])
    share = torch.ones_like(pixels[0]) if free is None else free.to(pixels).view_as(pixels[0])
    change = share * (1.0 if threat.discrete else eps)
    ball = None
    if not threat.separable:
        edge = pixels + share
        ball = Ball(int(threat.order), eps, centre=pixels, edge=edge, error=torch.zeros_like(pixels))
    return Interval((pixels - change).clamp(min=0.0), (pixels + change).clamp(max=1.0), ball=ball)
