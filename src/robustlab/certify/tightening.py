"""Tighter bounds for the arguments of an activation, each by its own way back (`backward`)."""

import math
from typing import Any

import torch

from robustlab.certify.backward import Node, lower_bounds, way_back
from robustlab.certify.interval import LINES, Interval
from robustlab.certify.rules.lines import leaky, rectifier
from robustlab.certify.rules.steps import STEPS

MEMORY = 2**29
"""Bytes that the coefficients of one way back may take, with their copies."""

_COPIES = 6
_AT_ONCE = 2**18
"""Coefficients of a layer at once on a CPU: with more, its time goes into fetching memory."""


class Tightener:
    """Tightens bounds, for N images at once, and counts.

    Args:
        n: how many images.
        largest: layers with more values for an image are left as they are.

    Attributes:
        rows: (N,) how many ways back each image took.
    """

    def __init__(self, n: int, largest: float = math.inf) -> None:
        self.rows = torch.zeros(n, dtype=torch.int64)
        self._largest = largest

    def tighten(self, func: Any, x: Interval) -> None:
        """Set the tightest bounds that are known of the arguments of a function that is not affine."""
        node = x.node
        assert node is not None
        if not node.tight:
            node.tight = True
            # Nothing is gained where intervals are exact, or right after another activation.
            if _can_be_tightened(node) and node.lower[0].numel() <= self._largest:
                self._improve(node, bent=LINES.get(func) in (rectifier, leaky))
        x.lower, x.upper = node.lower, node.upper

    def _improve(self, node: Node, *, bent: bool) -> None:
        lower, upper = (ends.reshape(len(ends), -1) for ends in (node.lower, node.upper))
        # Away from its bend a rectifier is affine.
        open_ones = (lower < 0) & (upper > 0) if bent else lower < upper
        counts = open_ones.sum(dim=1)
        self.rows = self.rows.to(counts.device) + counts
        most = int(counts.max())
        places = open_ones.to(torch.uint8).argsort(dim=1, descending=True, stable=True)[:, :most]
        for some in torch.split(places, _rows_at_once(node), dim=1) if most else ():
            rows = torch.zeros((some.shape[1], *lower.shape), dtype=lower.dtype, device=lower.device)
            rows.scatter_(2, some.T[..., None], 1.0)
            bounds = lower_bounds(node, rows.view(len(rows), *node.lower.shape), both=True).T
            below, above = bounds[:, : len(rows)], -bounds[:, len(rows) :]
            old = lower.gather(1, some), upper.gather(1, some)
            # A comparison with NaN keeps the old bound.
            lower = lower.scatter(1, some, below.where(below > old[0], old[0]))
            upper = upper.scatter(1, some, above.where(above < old[1], old[1]))
        node.lower, node.upper = lower.view_as(node.lower), upper.view_as(node.upper)


class WorkCounter:
    """Counts, instead of a `Tightener`, what it would take for one image.

    Attributes:
        sizes: of each layer that can be tightened, how many values it has for an image.
        work: how many coefficients, if intervals decide nothing.
        steps: whether there is a step function.
    """

    def __init__(self) -> None:
        self.sizes: list[int] = []
        self.work, self.steps = 0, False

    def tighten(self, func: Any, x: Interval) -> None:
        """Add the work for the arguments of a function that is not affine."""
        self.steps |= func in STEPS
        node = x.node
        assert node is not None
        if not node.tight and _can_be_tightened(node):
            self.sizes.append(node.lower[0].numel())
            self.work += self.sizes[-1] * sum(each.lower[0].numel() for each in way_back(node))
        node.tight = True


def _can_be_tightened(node: Node) -> bool:
    return node.lines is None and not all(parent.independent for parent in node.parents)


def _rows_at_once(node: Node) -> int:
    """Return how many rows a way back from a node may have, given the largest layer on it."""
    largest = max(here.lower.numel() for here in way_back(node))
    most = MEMORY // (8 * _COPIES * largest)
    if node.lower.device.type == "cpu":
        most = min(most, _AT_ONCE // largest)
    return max(1, most)
