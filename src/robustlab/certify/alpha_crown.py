"""alpha-CROWN: the slopes of the lower lines are optimised (Xu et al. 2021, arXiv:2011.13824).

A line below a rectifier may have any slope from 0 to 1, and each choice gives a bound that holds. Adam looks
for the best ones with the gradient of the bound, for each image and each pair of classes that `crown` leaves
open. The bounds of the layers stay those of `crown`; the paper optimises them, too, at many times the cost.

Beside the cost of `crown`, an image that is left open takes one way back and its gradient for each step and
open pair.
"""

from collections.abc import Mapping
from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor, nn

from robustlab.certify.backward import Node, lower_bounds, way_back
from robustlab.certify.crown import with_small_layers
from robustlab.certify.interval import Interval
from robustlab.certify.margins import (
    Bounds,
    LinearCertifier,
    differences,
    in_groups,
    linear_logits,
    margins_of,
)
from robustlab.certify.tightening import Tightener
from robustlab.core.spec import register
from robustlab.threats import ThreatModel


@register("alpha_crown")
class AlphaCROWN(LinearCertifier):
    """Linear bounds with slopes that are optimised for each image; slower than `crown`, and tighter."""

    at_once = 4

    steps: Annotated[int, Field(ge=1)] = 20
    """Steps of Adam on the slopes."""
    lr: Annotated[float, Field(gt=0.0)] = 0.2
    """Adam's step size; slopes are between 0 and 1."""

    def bounds(
        self, model: nn.Module, images: Tensor, labels: Tensor, threat: ThreatModel, *, every: bool = False
    ) -> Bounds:
        def bounded(images: Tensor, labels: Tensor, coarse: Tensor) -> Bounds:
            tightener = Tightener(len(images))
            logits = linear_logits(model, images, threat, tightener.tighten)
            margins = torch.maximum(margins_of(logits, labels), coarse)
            rows = tightener.rows + margins.shape[1] - 1
            margins, further = self._improved(logits, labels, margins)
            return Bounds(margins, torch.full_like(rows, 2), rows + further)

        bounds = with_small_layers(model, images, labels, threat)
        rows = (~bounds.proven | every).nonzero()[:, 0]
        if len(rows):
            bounds.improve(rows, in_groups(bounded, images[rows], labels[rows], bounds.margins[rows]))
        return bounds

    def _improved(self, logits: Interval, labels: Tensor, margins: Tensor) -> tuple[Tensor, Tensor]:
        """Return better margins, and (N,) how many ways back and forth they took."""
        counts = (margins <= 0).sum(dim=1)
        if not counts.any() or logits.node is None or not _turnable(logits.node):
            return margins, torch.zeros_like(counts)
        # The narrowest margins of each image, as many as the most that one image has open.
        places = margins.argsort(dim=1)[:, : int(counts.max())].T
        images = torch.arange(len(labels), device=labels.device)
        rows = differences(labels, margins.shape[1], margins.dtype)[places, images]
        best = margins.T.gather(0, places)
        best, ways = self.optimised(logits.node, rows, best, decay=0.95)
        return margins.scatter(1, places.T, best.T), 2 * ways * counts

    def optimised(
        self,
        node: Node,
        rows: Tensor,
        best: Tensor,
        *,
        decay: float = 1.0,
        sides: Mapping[Node, Tensor] | None = None,
        possible: Tensor | bool = True,
    ) -> tuple[Tensor, int]:
        """Return better bounds (S, N) of the functions of `lower_bounds`, and how many ways back they took.

        The step size changes by the factor ``decay`` in each step. ``sides`` says for some nodes on which
        side of 0 (N, ...) values are: above it (1), below it (-1) or on either (0); a multiplier of each is
        optimised, too. Only ``possible`` images (N,) matter.
        """
        ranges, slopes, sides = _turnable(node), {}, sides or {}
        for here in ranges:
            assert here.lines is not None
            assert here.lines.low is not None
            slopes[here] = here.lines.low.repeat(len(rows), *[1] * here.lower.ndim).requires_grad_()
        multipliers = {
            here: torch.zeros((len(rows), *side.shape), dtype=rows.dtype, device=rows.device).requires_grad_()
            for here, side in sides.items()
        }
        parameters = [*slopes.values(), *multipliers.values()]
        optimizer = torch.optim.Adam(parameters, lr=self.lr) if parameters else None
        for step in range(self.steps + 1):
            with torch.enable_grad():
                added = {here: -sides[here] * values for here, values in multipliers.items()}
                bounds = lower_bounds(node, rows, slopes=slopes, added=added)
            best = torch.maximum(best, bounds.detach().nan_to_num(-torch.inf))
            unproven = (best <= 0) & possible
            if optimizer is None or step == self.steps or not unproven.any():
                break
            optimizer.zero_grad()
            with torch.enable_grad():
                loss = -bounds[unproven].sum()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            optimizer.param_groups[0]["lr"] *= decay
            with torch.no_grad():
                for here, (least, most) in ranges.items():
                    slopes[here].clamp_(least, most)
                for values in multipliers.values():
                    values.clamp_(min=0.0)
        return best, step + 1


def _turnable(node: Node) -> dict[Node, tuple[Tensor, Tensor]]:
    """Return the nodes on the way back with lower lines that may turn, and their least and largest slopes."""
    free = {here: here.lines.free for here in way_back(node) if here.lines is not None}
    return {here: ends for here, ends in free.items() if ends is not None and (ends[0] < ends[1]).any()}
