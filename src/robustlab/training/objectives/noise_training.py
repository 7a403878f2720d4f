"""Training on Gaussian noise (Cohen, Rosenfeld & Kolter 2019, arXiv:1902.02918), as smoothing needs it."""

from torch import Tensor

from robustlab.core.spec import PixelLength, register
from robustlab.training.objectives.adversarial import near
from robustlab.training.objectives.base import Objective, cross_entropy
from robustlab.training.step import TrainingStep


@register("noise_training")
class NoiseTraining(Objective):
    """Cross-entropy on images with noise, which is not clipped to [0, 1]; so in validation, too.

    A classifier that is smoothed with noise of this standard deviation sees such images.
    """

    std: PixelLength
    """Of the noise, in pixel units; 0 is cross-entropy."""

    def loss(self, step: TrainingStep) -> Tensor:
        return cross_entropy(step, near(step, self.std) if self.std > 0 else step.images)
