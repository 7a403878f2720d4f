"""The L1 ball, intersected with the box [0, 1] exactly (Croce & Hein 2021, arXiv:2103.01208)."""

import math

import torch
from torch import Tensor

from robustlab.core import seeding
from robustlab.core.spec import PixelDistance, register
from robustlab.core.text import level
from robustlab.threats.base import ThreatModel, per_image, pixels, scale
from robustlab.threats.moves import cheapest_first

_STEP_SHARE = 0.05
"""Share of the pixels that one step moves (SLIDE, Tramèr & Boneh 2019, arXiv:1904.13000: 1 to 20 %)."""

_SPARE = (5e-7, 1e-5, 1e-4)
"""The shares of eps by which a point outside the ball is moved inside, tried in turn."""


@register("l1")
class L1(ThreatModel):
    """The pixels' changes may sum up to eps."""

    order = 1
    sparse = True
    eps: PixelDistance

    def largest_distance(self, shape: tuple[int, ...]) -> float:
        return float(math.prod(shape))

    def words(self, channels: int | None) -> str:
        total = level(self.eps)
        return f"change {pixels(channels)}s by up to {total} in total, {scale(channels)}"

    def distance(self, images: Tensor, clean: Tensor) -> Tensor:
        return (images - clean).flatten(1).abs().sum(dim=1)

    def project(self, images: Tensor, clean: Tensor, eps: Tensor | None = None) -> Tensor:
        """Return the nearest (in L2) allowed images: each change shrunk by one amount, then clipped."""
        moved = (images - clean).flatten(1)
        room = torch.where(moved > 0, 1 - clean.flatten(1), clean.flatten(1))
        size = moved.abs()
        radius = torch.as_tensor(self.eps if eps is None else eps, dtype=size.dtype, device=size.device)
        shrunk = (size - _excess(size, room, radius)[:, None]).clamp_(min=0.0).minimum(room)
        # Rounding in the sums above may leave an excess of a millionth.
        total = shrunk.sum(dim=1).clamp(min=1e-12)
        shrunk = shrunk * (radius / total).clamp(max=1.0)[:, None]
        move = (shrunk * moved.sign()).view_as(clean)
        projected = (clean + move).clamp_(0.0, 1.0)
        # Adding to the clean image rounds each pixel; on a large image the errors add up.
        for spare in _SPARE:
            total = self.distance(projected, clean)
            over = total > radius * (1 + _SPARE[0])
            if not over.any():
                break
            scale = torch.where(over, radius * (1 - spare) / total, 1.0)
            move = per_image(scale, clean) * move
            projected = (clean + move).clamp_(0.0, 1.0)
        return projected

    def random_start(self, clean: Tensor, key: int, ids: Tensor, eps: Tensor | None = None) -> Tensor:
        # Noise projected onto the ball moves few pixels, as the attacks' own steps do.
        return self.project(clean + seeding.normal(key, ids, tuple(clean.shape[1:])), clean, eps)

    def ascend(
        self, images: Tensor, gradient: Tensor, fraction: float | Tensor, eps: Tensor | None = None
    ) -> Tensor:
        share = max(1, round(_STEP_SHARE * images[0].numel())) if len(images) else 1
        return images + self._radius(images, eps, fraction) * sparse_sign(images, gradient, share)

    def steepest(self, gradient: Tensor) -> Tensor:
        flat = gradient.flatten(1)
        first = flat.abs().argmax(dim=1, keepdim=True)
        return torch.zeros_like(flat).scatter(1, first, flat.gather(1, first)).view_as(gradient)

    def _sizes(self, weight: Tensor, room: Tensor, need: Tensor) -> Tensor:
        return cheapest_first(weight, room, need, weight)


def sparse_sign(images: Tensor, gradient: Tensor, count: int | Tensor) -> Tensor:
    """Return the L1 unit step: equal moves of the ``count`` (or (N,)) pixels of the largest gradient.

    Pixels at the end of the range towards which the gradient points stay where they are.
    """
    stuck = ((images >= 1) & (gradient > 0)) | ((images <= 0) & (gradient < 0))
    size = torch.where(stuck, 0.0, gradient.abs()).flatten(1)
    if isinstance(count, int):
        count = torch.full((len(images),), count, device=images.device)
    order = size.sort(dim=1, descending=True).values
    least = order.gather(1, (count.clamp(1, size.shape[1]) - 1)[:, None])
    chosen = (size >= least) & (size > 0)
    number = per_image(chosen.sum(dim=1).clamp(min=1), images)
    return chosen.view_as(gradient) * gradient.sign() / number


def _excess(size: Tensor, room: Tensor, radius: Tensor) -> Tensor:
    """Return (N,) the least amount by which the sizes must shrink to sum up to the radius within the room.

    The sum of ``clip(size - amount, 0, room)`` is piecewise linear in the amount. It falls by one per unit
    for each pixel while the amount lies between ``size - room`` and ``size``. There the pixel's move falls
    from its room to 0.
    """
    begins, ends = (size - room).clamp(min=0.0), size
    knots, order = torch.cat([begins, ends], dim=1).sort(dim=1)
    slope = torch.cat([torch.ones_like(size), -torch.ones_like(size)], dim=1).gather(1, order).cumsum(dim=1)
    widths = torch.diff(knots, dim=1, prepend=torch.zeros_like(knots[:, :1]))
    falls = torch.cat([torch.zeros_like(slope[:, :1]), slope[:, :-1]], dim=1) * widths
    surplus = size.minimum(room).sum(dim=1, keepdim=True) - radius.view(-1, 1)
    left = surplus - falls.cumsum(dim=1)
    # The breakpoint before which the excess is used up; the amount lies on the segment that ends there.
    place = (left > 0).sum(dim=1, keepdim=True).clamp(max=knots.shape[1] - 1)
    steepest_slope = slope.gather(1, (place - 1).clamp(min=0)).clamp(min=1)
    rest = left.gather(1, place) / steepest_slope
    amount = knots.gather(1, place) + rest
    return torch.where(surplus > 0, amount, 0.0).clamp_(min=0.0).squeeze(1)
