"""Any class but the label."""

from torch import Tensor

from robustlab.attacks.criteria.base import Criterion, Observation
from robustlab.attacks.losses import Loss, measure
from robustlab.core.spec import register


@register("misclassified")
class Misclassified(Criterion):
    """Any class but the label; a classifier that gives no answer (NaN, infinity) misclassifies too."""

    any_rival = True

    def reached(self, seen: Observation) -> Tensor:
        return ~seen.valid | (seen.logits.argmax(dim=1) != seen.labels)

    def loss(self, loss: Loss, seen: Observation, rivals: Tensor | None = None) -> Tensor:
        return measure(loss, seen.logits, seen.labels, rivals=rivals)


MISCLASSIFIED = Misclassified()
"""What attackers want unless they say otherwise."""
