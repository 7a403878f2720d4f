"""Class boundaries of the classifier as its gradients see it, and which of them is the nearest."""

import torch
from torch import Tensor

from robustlab.attacks.session import Session


def likeliest(session: Session, count: int) -> Tensor:
    """Return (n, k) the label, then the likeliest other classes of the clean image; ``count`` in all."""
    logits = session.clean_logits.scatter(1, session.labels[:, None], torch.inf)
    return logits.topk(min(count, logits.shape[1]), dim=1).indices


def useful_radius(session: Session) -> Tensor:
    """Return (n,) each image's eps, but not more than the way to the farthest corner of the box."""
    corner = (session.clean < 0.5).to(session.clean.dtype)
    return session.eps.minimum(session.threat.distance(corner, session.clean))


def nearest_boundary(session: Session, points: Tensor, classes: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Measure points and find the class that takes the least to overtake the label, or the target's rivals.

    Args:
        session: the images.
        points: (n, C, H, W).
        classes: (n, k) the label and those that may overtake it; not looked at where the goal is not any of
            them.

    Returns:
        (n,) what the difference of logits must rise by; (n, C, H, W) its gradient; (n,) where the goal is
        reached.
    """
    if not session.any_rival:
        result = session.query(points, "margin", gradient=True)
        return -result.losses, result.ascent, result.reached
    result, gradients = session.jacobian(points, classes)
    logits = result.logits.gather(1, classes)
    gaps, gradients = logits[:, :1] - logits[:, 1:], gradients[:, 1:] - gradients[:, :1]
    nearest = (gaps.abs() / session.threat.dual_norm(gradients)).argmin(dim=1, keepdim=True)
    gradient = gradients.take_along_dim(nearest[:, :, None, None, None], dim=1).squeeze(1)
    return gaps.gather(1, nearest).squeeze(1), gradient, result.reached
