"""Certified training with interval bounds (Gowal et al. 2018, arXiv:1810.12715)."""

from typing import Annotated

from pydantic import Field

from robustlab.core.spec import register
from robustlab.threats import ThreatModel
from robustlab.training.objectives.certified import Bounds, CertifiedObjective, ball, require_box
from robustlab.training.step import TrainingStep


@register("ibp_training")
class IBPTraining(CertifiedObjective):
    """Cross-entropy of the worst logits that interval bounds allow, and of the clean ones.

    The networks that it trains are those that the certifier `ibp` can prove something about. With the
    initialisation and the regulariser of Shi et al. 2021 (arXiv:2103.17268) short trainings suffice. For a
    proof at eps the literature often trains at a larger one.
    """

    threat: ThreatModel
    kappa: Annotated[float, Field(ge=0.0, le=1.0)] = 0.5
    """The final weight of the clean cross-entropy; the bounds have the rest of 1."""
    warmup: Annotated[float, Field(ge=0.0, le=1.0)] = 0.1
    """The share of the training, at its beginning, on clean images alone."""
    ramp: Annotated[float, Field(ge=0.0, le=1.0)] = 0.6
    """The share of the training after which eps and the weights have their final values."""
    regularizer: Annotated[float, Field(ge=0.0)] = 0.5
    """The weight of the regulariser where eps begins to rise; it falls to 0 at the end of the ramp."""
    initialization: bool = True
    """Whether fresh weights are drawn as interval bounds need it; False keeps those of the network."""

    def __post_init__(self) -> None:
        require_box(self.threat, self.warmup, self.ramp)

    def box(self, step: TrainingStep, share: float) -> Bounds:
        return ball(self.threat, step.images, share)
