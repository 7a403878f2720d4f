"""SABR (Mueller, Eckert, Fischer & Vechev 2023, arXiv:2210.04871): bounds on a small adversarial box."""

from typing import Annotated

from pydantic import Field

from robustlab.core import seeding
from robustlab.core.spec import register
from robustlab.threats import ThreatModel
from robustlab.training.objectives.adversarial import climb, searching
from robustlab.training.objectives.certified import Bounds, CertifiedObjective, ball, require_box
from robustlab.training.step import TrainingStep


@register("sabr")
class SABR(CertifiedObjective):
    """Cross-entropy of the worst logits that interval bounds allow in a small box around an attacked image.

    The box has ``box_share`` of eps and lies inside the ball. Its bounds cost less accuracy than those of the
    whole ball, but fewer images are proven by intervals alone. In validation the box is around the clean
    image, so that no attack is paid for.
    """

    threat: ThreatModel
    box_share: Annotated[float, Field(ge=0.0, le=1.0)] = 0.6
    """The size of the box as a share of eps (lambda in the paper); 1 is training on the whole ball."""
    steps: Annotated[int, Field(ge=1)] = 8
    """Of the search for the attacked image."""
    rel_step_size: Annotated[float, Field(gt=0.0)] = 0.25
    """Step length as a fraction of the search's own eps."""
    kappa: Annotated[float, Field(ge=0.0, le=1.0)] = 0.0
    """The final weight of the clean cross-entropy."""
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
        centre = step.images
        room = self.threat.at(self.threat.eps * share * (1 - self.box_share))
        if not step.validating and room.eps > 0:
            with searching(step, train_mode=False):
                start = room.random_start(centre, seeding.derive(step.key, "start"), step.ids)
                centre = climb(step, room, start, steps=self.steps, rel_step_size=self.rel_step_size)
        return ball(self.threat, centre, share * self.box_share)
