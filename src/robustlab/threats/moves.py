"""How far each pixel must move so that a weighted sum of the moves reaches what is needed, at least cost.

All take (N, D) weights and room, not negative, and (N, 1) the needed sum. If the room is not enough, every
pixel moves to its limit.
"""

import torch
from torch import Tensor


def cheapest_first(weight: Tensor, room: Tensor, need: Tensor, worth: Tensor) -> Tensor:
    """Return the moves of one pixel after the other to its limit, those with the largest worth first."""
    order = worth.argsort(dim=1, descending=True)
    weight, room = weight.gather(1, order), room.gather(1, order)
    gain = (weight * room).cumsum(dim=1)
    place = (gain < need).sum(dim=1, keepdim=True).clamp(max=gain.shape[1] - 1)
    before = torch.cat([torch.zeros_like(need), gain[:, :-1]], dim=1).gather(1, place)
    rest = ((need - before) / weight.gather(1, place).clamp(min=1e-30)).minimum(room.gather(1, place))
    first = torch.arange(room.shape[1], device=room.device) < place
    return torch.zeros_like(room).scatter(1, order, (room * first).scatter(1, place, rest))


def all_at_once(weight: Tensor, room: Tensor, need: Tensor, speed: Tensor) -> Tensor:
    """Return the moves of all pixels at their speeds, until each reaches its limit."""
    # The gain is concave and piecewise linear in the time; a piece ends where a pixel reaches its limit. The
    # contributions of pixels may differ by ten orders of magnitude. So sums run from the last piece, without
    # differences.
    ends, order = torch.where(weight > 0, room / speed.clamp(min=1e-30), 0.0).sort(dim=1)
    rate = (weight * speed).gather(1, order).flip(1).cumsum(dim=1).flip(1)
    gain = (rate * torch.diff(ends, dim=1, prepend=torch.zeros_like(ends[:, :1]))).cumsum(dim=1)
    place = (gain < need).sum(dim=1, keepdim=True).clamp(max=gain.shape[1] - 1)
    early = (gain.gather(1, place) - need).clamp(min=0.0) / rate.gather(1, place).clamp(min=1e-30)
    return ((ends.gather(1, place) - early).clamp(min=0.0) * speed).minimum(room)
