"""Class boundaries of the classifier as its gradients see it: the nearest one, and its nearest point."""

import torch
from torch import Tensor

from robustlab.attacks.session import Session
from robustlab.core.threat import per_image

_DUAL = {"linf": 1.0, "l2": 2.0, "l1": torch.inf}


def steepness(norm: str, slopes: Tensor) -> Tensor:
    """Return (...) by how much slopes (..., C, H, W) rise at most per unit of distance; above 0."""
    size: Tensor = torch.linalg.vector_norm(slopes.flatten(-3), ord=_DUAL[norm], dim=-1)
    return size.clamp(min=1e-12)


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
        classes: (n, k) the label and those that may overtake it; not looked at where there are targets.

    Returns:
        (n,) what the slope must rise by, in logits; (n, C, H, W) the slope; (n,) where the goal is reached.
    """
    if session.targets is not None:
        reading = session.query(points, "margin", gradient=True)
        return -reading.losses, reading.ascent, reading.reached
    reading, gradients = session.jacobian(points, classes)
    logits = reading.logits.gather(1, classes)
    gaps, slopes = logits[:, :1] - logits[:, 1:], gradients[:, 1:] - gradients[:, :1]
    nearest = (gaps.abs() / steepness(session.threat.name, slopes)).argmin(dim=1, keepdim=True)
    slope = slopes.take_along_dim(nearest[:, :, None, None, None], dim=1).squeeze(1)
    return gaps.gather(1, nearest).squeeze(1), slope, reading.reached


def straight(norm: str, slope: Tensor, rise: Tensor) -> Tensor:
    """Return the smallest moves along which the slope rises, or falls, by as much as is asked, box or no box.

    Args:
        norm: in which the moves are smallest: linf or l2.
        slope: (n, C, H, W).
        rise: (n,) of the slope; negative: it is to fall.
    """
    direction = slope.sign() if norm == "linf" else slope
    gain = (slope * direction).flatten(1).sum(dim=1).clamp(min=1e-30)
    return direction * per_image((rise / gain).nan_to_num(), slope)


def onto_plane(norm: str, starts: Tensor, slope: Tensor, rise: Tensor) -> Tensor:
    """Return the smallest moves inside [0, 1] along which the slope rises, or falls, by as much as is asked.

    Where no move does, the one that comes nearest: every pixel at its wall.

    Args:
        norm: in which the moves are smallest: linf, l2 or l1.
        starts: (n, C, H, W) in [0, 1].
        slope: (n, C, H, W).
        rise: (n,) of the slope; negative: it is to fall.
    """
    toward = slope.sign() * per_image(rise.sign(), slope)
    room = torch.where(toward > 0, 1 - starts, starts).flatten(1)
    weight, need = slope.flatten(1).abs(), rise.abs()[:, None]
    size = _cheapest_first(weight, room, need) if norm == "l1" else _all_at_once(norm, weight, room, need)
    return toward * size.view_as(starts)


def _cheapest_first(weight: Tensor, room: Tensor, need: Tensor) -> Tensor:
    """Return L1's moves: one pixel after the other to its wall, the heaviest first."""
    weight, order = weight.sort(dim=1, descending=True)
    room = room.gather(1, order)
    gain = (weight * room).cumsum(dim=1)
    place = (gain < need).sum(dim=1, keepdim=True).clamp(max=gain.shape[1] - 1)
    before = torch.cat([torch.zeros_like(need), gain[:, :-1]], dim=1).gather(1, place)
    rest = ((need - before) / weight.gather(1, place).clamp(min=1e-30)).minimum(room.gather(1, place))
    first = torch.arange(room.shape[1], device=room.device) < place
    return torch.zeros_like(room).scatter(1, order, (room * first).scatter(1, place, rest))


def _all_at_once(norm: str, weight: Tensor, room: Tensor, need: Tensor) -> Tensor:
    """Return the moves of Linf and L2: all pixels at their speeds, until each meets its wall."""
    # The gain is concave and piecewise linear in the time; a piece ends where a pixel meets its wall. What a
    # pixel adds may be ten orders below what another does: sums run from the last piece, free of differences.
    speed = torch.ones_like(weight) if norm == "linf" else weight
    ends, order = torch.where(weight > 0, room / speed.clamp(min=1e-30), 0.0).sort(dim=1)
    rate = (weight * speed).gather(1, order).flip(1).cumsum(dim=1).flip(1)
    gain = (rate * torch.diff(ends, dim=1, prepend=torch.zeros_like(ends[:, :1]))).cumsum(dim=1)
    place = (gain < need).sum(dim=1, keepdim=True).clamp(max=gain.shape[1] - 1)
    early = (gain.gather(1, place) - need).clamp(min=0.0) / rate.gather(1, place).clamp(min=1e-30)
    return ((ends.gather(1, place) - early).clamp(min=0.0) * speed).minimum(room)
