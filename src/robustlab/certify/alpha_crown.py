"""alpha-CROWN: the slopes of the lower lines are optimised (Xu et al. 2021, arXiv:2011.13824).

A line below a rectifier may have any slope from 0 to 1, and each choice gives a bound that holds. Adam looks
for the best ones with the gradient of the bound, for each image and each pair of classes that `crown` leaves
open. The bounds of the layers stay those of `crown`; the paper optimises them, too, at many times the cost.

Beside the cost of `crown`, an image that is left open takes one way back and its gradient for each step and
open pair.
"""

from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor, nn

from robustlab.certify.backward import Node, Tape, lower_bounds, way_back
from robustlab.certify.base import Certifier, ProofResult
from robustlab.certify.crown import with_small_layers
from robustlab.certify.interval import Interval
from robustlab.certify.margins import Bounds, differences, in_groups, logits_of, margins_of
from robustlab.certify.region import region
from robustlab.certify.tightening import Tightener
from robustlab.core.spec import register
from robustlab.threats import ThreatModel


@register("alpha_crown")
class AlphaCROWN(Certifier):
    """Linear bounds with slopes that are optimised for each image; slower than `crown`, and tighter."""

    norms = ("linf",)
    at_once = 4

    steps: Annotated[int, Field(ge=1)] = 20
    """Steps of Adam on the slopes."""
    lr: Annotated[float, Field(gt=0.0)] = 0.2
    """Adam's step size; slopes are between 0 and 1."""

    def prove(self, model: nn.Module, images: Tensor, labels: Tensor, threat: ThreatModel) -> ProofResult:
        return self.bounds(model, images, labels, threat).proofs

    def margins(self, model: nn.Module, images: Tensor, labels: Tensor, threat: ThreatModel) -> Tensor:
        """Return (N, K) float64 lower bounds on the label's logit minus each other one, in the threat model.

        They hold for the logits as computed in float32. At the label itself the bound is infinite. They are
        at least those of `crown`.

        Raises:
            NoRuleError: the network can't be bounded, or its bounds leave the range of float32.
        """
        return self.bounds(model, images, labels, threat, everywhere=True).margins

    def bounds(
        self,
        model: nn.Module,
        images: Tensor,
        labels: Tensor,
        threat: ThreatModel,
        *,
        everywhere: bool = False,
    ) -> Bounds:
        """Return bounds with optimised slopes for the images that need it, or for all images."""

        def bounded(images: Tensor, labels: Tensor, coarse: Tensor) -> Bounds:
            tightener = Tightener(len(images))
            logits = logits_of(model, Tape(tightener.tighten).start(region(images, threat, torch.float64)))
            margins = torch.maximum(margins_of(logits, labels), coarse)
            rows = tightener.rows + margins.shape[1] - 1
            margins, further = self._optimised(logits, labels, margins)
            return Bounds(margins, torch.full_like(rows, 2), rows + further)

        bounds = with_small_layers(model, images, labels, threat)
        rows = (~bounds.proven | everywhere).nonzero()[:, 0]
        if len(rows):
            bounds.improve(rows, in_groups(bounded, images[rows], labels[rows], bounds.margins[rows]))
        return bounds

    def _optimised(self, logits: Interval, labels: Tensor, margins: Tensor) -> tuple[Tensor, Tensor]:
        """Return better margins, and (N,) how many ways back and forth they took."""
        counts = (margins <= 0).sum(dim=1)
        none = torch.zeros_like(counts)
        if not counts.any() or logits.node is None:
            return margins, none
        # The narrowest margins of each image, as many as the most that one image has open.
        places = margins.argsort(dim=1)[:, : int(counts.max())].T
        images = torch.arange(len(labels), device=labels.device)
        rows = differences(labels, margins.shape[1], margins.dtype)[places, images]
        best = margins.T.gather(0, places)
        ranges, slopes = turnable(logits.node), {}
        for node in ranges:
            assert node.lines is not None
            assert node.lines.low is not None
            slopes[node] = node.lines.low.repeat(len(rows), *[1] * node.lower.ndim).requires_grad_()
        if not slopes:
            return margins, none
        optimizer = torch.optim.Adam(slopes.values(), lr=self.lr)
        schedule = torch.optim.lr_scheduler.ExponentialLR(optimizer, 0.95)
        for step in range(self.steps + 1):
            with torch.enable_grad():
                bounds = lower_bounds(logits.node, rows, slopes=slopes)
            best = torch.maximum(best, bounds.detach().nan_to_num(-torch.inf))
            if step == self.steps or (best > 0).all():
                break
            optimizer.zero_grad()
            with torch.enable_grad():
                loss = -bounds[best <= 0].sum()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            schedule.step()
            with torch.no_grad():
                for node, (least, most) in ranges.items():
                    slopes[node].clamp_(least, most)
        return margins.scatter(1, places.T, best.T), 2 * (step + 1) * counts


def turnable(node: Node) -> dict[Node, tuple[Tensor, Tensor]]:
    """Return the nodes on the way back with lower lines that may turn, and their least and largest slopes."""
    free = {here: here.lines.free for here in way_back(node) if here.lines is not None}
    return {here: ends for here, ends in free.items() if ends is not None and (ends[0] < ends[1]).any()}
