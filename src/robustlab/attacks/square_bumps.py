"""The windows of Square Attack, and its moves for L2 (arXiv:1912.00049) and L1 (arXiv:2103.01208).

For those norms a window holds two adjacent bumps of opposite sign, one above the other or side by side.
"""

import torch
from torch import Tensor

from robustlab.attacks.session import Session
from robustlab.threats import per_image

_TILES = 5
"""Windows along each side of the image at the start."""

_LEAST_SIDE = 3
"""Smaller windows, in pixels, have not enough space for two bumps."""


def span(draws: Tensor, side: int, size: int) -> Tensor:
    """Return a mask of the rows (or columns) of windows: (..., size) of uniform numbers (...)."""
    return _from(first_place(draws, side, size), side, size)


def first_place(draws: Tensor, side: int, size: int) -> Tensor:
    """Return the first row (or column) of windows, as whole numbers of the draws' type and shape."""
    return (draws * (size - min(side, size) + 1)).floor()


def spans(side: int, size: int, images: Tensor) -> Tensor:
    """Return the masks (k, size) of all k windows, on the device of the images."""
    count = size - min(side, size) + 1
    return _from(torch.arange(count, device=images.device, dtype=images.dtype), side, size)


def _from(first: Tensor, side: int, size: int) -> Tensor:
    place, first = torch.arange(size, device=first.device), first[..., None]
    return ((place >= first) & (place < first + side)).to(first.dtype)


def bumps(tall: int, wide: int, order: int) -> Tensor:
    """Return (2, tall, wide) bumps, one above the other and side by side; each pair has norm 1."""
    pairs = []
    for long, short in ((tall, wide), (wide, tall)):
        halves = [_bump(long // 2, short, order), -_bump(long - long // 2, short, order)]
        pairs.append(torch.cat(halves))
    both = torch.stack([pairs[0], pairs[1].T])
    length: Tensor = torch.linalg.vector_norm(both, ord=order, dim=(1, 2), keepdim=True)
    return both / length


def _bump(tall: int, wide: int, order: int) -> Tensor:
    """Return a bump of norm 1; at distance d from its middle its height is a sum of terms over k > d.

    The terms are 1 / k^2 for L2. For L1 they are 1 / k^4, as in AutoAttack's code and unlike in the paper.
    """
    reach = max(tall, wide) // 2 + 1
    heights = (1 / torch.arange(1, reach + 1) ** (4 // order)).flip(0).cumsum(dim=0).flip(0)
    rows, columns = torch.arange(tall) - tall // 2, torch.arange(wide) - wide // 2
    bump = heights[torch.maximum(rows.abs()[:, None], columns.abs()[None, :])]
    length: Tensor = torch.linalg.vector_norm(bump, ord=order)
    return bump / length.clamp(min=1e-12)


def bump_start(session: Session) -> Tensor:
    """Return images tiled with windows, each with its own bumps and, in every channel, its own sign."""
    channels, height, width = session.clean.shape[1:]
    rows, tall = _tiling(height, session.clean)
    columns, wide = _tiling(width, session.clean)
    draws = session.uniform("start", shape=(1 + channels, _TILES, _TILES))
    draws = draws[:, :, (rows // tall).clamp(0, _TILES - 1)][..., (columns // wide).clamp(0, _TILES - 1)]
    inside = ((rows >= 0) & (rows < _TILES * tall))[:, None] & ((columns >= 0) & (columns < _TILES * wide))
    both = bumps(tall, wide, int(session.threat.order)).to(session.clean.device)
    pattern = both[(draws[:, 0] < 0.5).long(), (rows % tall)[:, None], columns % wide] * inside
    signs = 2.0 * (draws[:, 1:] < 0.5) - 1
    moves = signs * pattern[:, None]
    if not session.threat.sparse:
        return session.ascend(session.clean, moves, 1.0)
    # Each window has norm 1; the projection keeps only the highest pixels of all windows.
    return session.project(session.clean + moves)


def _tiling(size: int, images: Tensor) -> tuple[Tensor, int]:
    """Return each row's (or column's) place relative to the first tile, and a tile's side in pixels."""
    side = max(1, size // _TILES)
    offset = max(0, size - _TILES * side) // 2
    return torch.arange(size, device=images.device) - offset, side


def move_bumps(session: Session, points: Tensor, draws: Tensor, side: int) -> Tensor:
    """Add bumps to one window, channel by channel, and remove the change of another window.

    Args:
        session: the search.
        points: (n, C, H, W), allowed.
        draws: (n, 5 + C) uniform numbers: where both windows begin, how the bumps lie, and the signs.
        side: of the windows, in pixels.
    """
    order, channels = int(session.threat.order), points.shape[1]
    height, width = points.shape[2:]
    side = max(side, _LEAST_SIDE) | 1
    tall, wide = min(side, height), min(side, width)
    rows, rows_2 = span(draws[:, :2], side, height).unbind(dim=1)
    columns, columns_2 = span(draws[:, 2:4], side, width).unbind(dim=1)
    first = rows[:, None, :, None] * columns[:, None, None, :]
    either = (first + rows_2[:, None, :, None] * columns_2[:, None, None, :]) > 0

    # The index of a row within the window.
    row = (rows.cumsum(dim=1) - 1).clamp(min=0).long()
    column = (columns.cumsum(dim=1) - 1).clamp(min=0).long()
    both = bumps(tall, wide, order).to(points.device)
    pattern = both[(draws[:, 4] < 0.5).long()[:, None, None], row[:, :, None], column[:, None, :]]
    signs = 2.0 * (draws[:, 5:, None, None] < 0.5) - 1

    def length(moves: Tensor) -> Tensor:
        size: Tensor = torch.linalg.vector_norm(moves, ord=order, dim=(2, 3), keepdim=True)
        return size

    moved = points - session.clean
    old = moved * first
    new = signs * pattern[:, None] * first + old / length(old).clamp(min=1e-12)
    used = session.threat.distance(points, session.clean)
    unused = per_image((session.eps**order - used**order).clamp(min=0.0), points) / channels
    available = (length(moved * either) ** order + unused) ** (1 / order)
    new = new * (available / length(new).clamp(min=1e-12))
    if order == 1 and channels > 1:
        # Longer than eps, as in AutoAttack's code: the projection keeps only the highest pixels, and finds
        # more successes.
        return session.project(session.clean + torch.where(either, 0.0, moved) + channels * new)
    moved = torch.where(either, 0.0, moved) + new
    # The norm is correct up to rounding, so clipping equals the projection, for L1 too.
    excess = session.eps / torch.linalg.vector_norm(moved.flatten(1), ord=order, dim=1).clamp(min=1e-12)
    return (session.clean + moved * per_image(excess.clamp(max=1.0), moved)).clamp(0.0, 1.0)
