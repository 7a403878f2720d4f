"""Class boundaries of the linearised classifier, and which of them is the nearest."""

import torch
from torch import Tensor

from robustlab.attacks.session import Session


def likeliest(session: Session, count: int) -> Tensor:
    """Return (n, k): the label, then the most likely other classes of the clean image; ``count`` in all."""
    logits = session.clean_logits.scatter(1, session.labels[:, None], torch.inf)
    return logits.topk(min(count, logits.shape[1]), dim=1).indices


def useful_radius(session: Session) -> Tensor:
    """Return (n,) each image's eps, at most the distance to the farthest corner of the box [0, 1]."""
    corner = (session.clean < 0.5).to(session.clean.dtype)
    return session.eps.minimum(session.threat.distance(corner, session.clean))


def nearest_boundary(session: Session, points: Tensor, classes: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Evaluate points; find the class with the nearest boundary to the label, or of the target to its rivals.

    Args:
        session: the images.
        points: (n, C, H, W).
        classes: (n, k) the label and its possible rivals; ignored if the goal is not just any of them.

    Returns:
        (n,) by how much the difference of logits must rise; (n, C, H, W) its gradient; (n,) where the goal is
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
