"""CROWN-IBP: interval bounds of the layers, then one way back (Zhang et al. 2020, arXiv:1906.06316).

An image takes two passes forward, in float64, and one way back (`backward`) for each other class.
"""

import torch
from torch import Tensor, nn

from robustlab.certify.backward import Tape
from robustlab.certify.base import Certifier, ProofResult
from robustlab.certify.ibp import interval_margins
from robustlab.certify.interval import Interval
from robustlab.certify.margins import Bounds, in_groups, logits_of, margins_of
from robustlab.certify.region import region
from robustlab.core.spec import register
from robustlab.threats import ThreatModel


@register("crown_ibp")
class CROWNIBP(Certifier):
    """Interval bounds of the layers, and linear bounds from the logits to the pixels."""

    norms = ("linf",)

    def prove(self, model: nn.Module, images: Tensor, labels: Tensor, threat: ThreatModel) -> ProofResult:
        return crown_ibp(model, images, labels, threat).proofs

    def margins(self, model: nn.Module, images: Tensor, labels: Tensor, threat: ThreatModel) -> Tensor:
        """Return (N, K) float64 lower bounds on the label's logit minus each other one, in the threat model.

        They hold for the logits as computed in float32. At the label itself the bound is infinite.

        Raises:
            NoRuleError: the network can't be bounded, or its bounds leave the range of float32.
        """
        return crown_ibp(model, images, labels, threat).margins


def crown_ibp(model: nn.Module, images: Tensor, labels: Tensor, threat: ThreatModel) -> Bounds:
    """Return the bounds of interval bounds and one way back."""

    def bounded(images: Tensor, labels: Tensor) -> Bounds:
        margins = margins_of(logits_of(model, Tape().start(region(images, threat, torch.float64))), labels)
        once = torch.ones_like(labels, dtype=torch.int64)
        return Bounds(margins, 2 * once, (margins.shape[1] - 1) * once)

    return in_groups(bounded, images, labels)


def both_margin_bounds(model: nn.Module, labels: Tensor, pixels: Interval) -> tuple[Tensor, Tensor]:
    """Return the margins of `margin_bounds`, and those of one way back; for both one pass runs on intervals.

    As there, both have a gradient with respect to the weights, and only float64 bounds prove something. The
    gradient takes the slopes of the lines at sigmoid and tanh as constants.

    Args:
        model: in eval mode.
        labels: (N,).
        pixels: the bounds of the images (N, C, H, W).

    Raises:
        NoRuleError: the network can't be bounded.
    """
    logits = logits_of(model, Tape().start(pixels))
    return interval_margins(logits, labels), margins_of(logits, labels)
