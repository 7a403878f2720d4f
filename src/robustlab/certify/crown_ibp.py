"""CROWN-IBP: interval bounds of the layers, then one way back (Zhang et al. 2020, arXiv:1906.06316).

An image takes two passes forward in float64, one to see that its own logits lie within the bounds, and one
way back (`backward`) for each other class.
"""

import torch
from torch import Tensor, nn

from robustlab.certify.backward import Tape
from robustlab.certify.ibp import interval_margins
from robustlab.certify.interval import Interval
from robustlab.certify.margins import Bounds, LinearCertifier, in_groups, linear_logits, logits_of, margins_of
from robustlab.core.spec import register
from robustlab.threats import ThreatModel


@register("crown_ibp")
class CROWNIBP(LinearCertifier):
    """Interval bounds of the layers, and linear bounds from the logits to the pixels."""

    def bounds(
        self, model: nn.Module, images: Tensor, labels: Tensor, threat: ThreatModel, *, every: bool = False
    ) -> Bounds:
        del every

        def bounded(images: Tensor, labels: Tensor) -> Bounds:
            margins = margins_of(linear_logits(model, images, threat, check=True), labels)
            once = torch.ones_like(labels, dtype=torch.int64)
            return Bounds(margins, 3 * once, (margins.shape[1] - 1) * once)

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
