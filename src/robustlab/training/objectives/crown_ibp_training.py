"""CROWN-IBP training (Zhang et al. 2020, arXiv:1906.06316): linear bounds first, in the end intervals."""

from typing import Annotated

from pydantic import Field
from torch import Tensor, nn

from robustlab.certify import Interval, both_margin_bounds, margin_bounds
from robustlab.core.spec import register
from robustlab.training.objectives.ibp_training import IBPTraining


@register("crown_ibp_training")
class CROWNIBPTraining(IBPTraining):
    """Cross-entropy of the worst logits that a mixture of two bounds allows, and of the clean ones.

    The margins are those of the certifier `crown_ibp`, mixed with those of `ibp`. The weight of the first
    ones (beta in the paper) falls from 1 to 0 while eps rises. Linear bounds are tighter at a network that
    intervals can't bound yet; they stabilise the beginning. After the ramp a step costs what it does in
    `ibp_training`, and so does the validation.
    """

    kappa: Annotated[float, Field(ge=0.0, le=1.0)] = 0.0

    def margins(self, network: nn.Module, labels: Tensor, pixels: Interval, share: float) -> Tensor:
        if share == 1:
            return margin_bounds(network, labels, pixels)
        # Both are infinite at the label, and so is their mean.
        intervals, linear = both_margin_bounds(network, labels, pixels)
        return share * intervals + (1 - share) * linear
