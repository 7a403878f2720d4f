"""Cross-entropy on the unchanged images."""

from torch import Tensor

from robustlab.core.spec import register
from robustlab.training.objectives.base import Objective, cross_entropy
from robustlab.training.step import TrainingStep


@register("cross_entropy")
class CrossEntropy(Objective):
    """Mean cross-entropy of a classifier."""

    def loss(self, step: TrainingStep) -> Tensor:
        return cross_entropy(step)
