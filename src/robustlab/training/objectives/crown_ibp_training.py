"""CROWN-IBP training (Zhang et al. 2020, arXiv:1906.06316): linear bounds first, in the end intervals."""

from typing import Annotated

from pydantic import Field
from torch import Tensor, nn

from robustlab.certify import Interval, both_margin_bounds, margin_bounds
from robustlab.core.spec import register
from robustlab.threats import ThreatModel
from robustlab.training.objectives.certified import Bounds, CertifiedObjective, ball, require_box
from robustlab.training.step import TrainingStep


@register("crown_ibp_training")
class CROWNIBPTraining(CertifiedObjective):
    """Cross-entropy of the worst logits that a mixture of two bounds allows, and of the clean ones.

    The margins are those of the certifier `crown_ibp`, mixed with those of `ibp`. The weight of the first
    ones (beta in the paper) falls from 1 to 0 while eps rises. Linear bounds are tighter at a network that
    intervals can't bound yet; they stabilise the beginning. After the ramp a step costs what it does in
    `ibp_training`, and so does the validation.
    """

    threat: ThreatModel
    kappa: Annotated[float, Field(ge=0.0, le=1.0)] = 0.0
    """The final weight of the clean cross-entropy; the bounds have the rest of 1."""
    warmup: Annotated[float, Field(ge=0.0, le=1.0)] = 0.1
    """The share of the training, at its beginning, on clean images alone."""
    ramp: Annotated[float, Field(ge=0.0, le=1.0)] = 0.6
    """The share of the training after which eps and the weights have their final values."""
    regularizer: Annotated[float, Field(ge=0.0)] = 0.5
    """As of `ibp_training`."""
    initialization: bool = True
    """As of `ibp_training`."""

    def __post_init__(self) -> None:
        require_box(self.threat, self.warmup, self.ramp)

    def box(self, step: TrainingStep, share: float) -> Bounds:
        return ball(self.threat, step.images, share)

    def margins(self, network: nn.Module, labels: Tensor, pixels: Interval, share: float) -> Tensor:
        if share == 1:
            return margin_bounds(network, labels, pixels)
        # Both are infinite at the label, and so is their mean.
        intervals, linear = both_margin_bounds(network, labels, pixels)
        return share * intervals + (1 - share) * linear
