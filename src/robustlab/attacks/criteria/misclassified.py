"""Any class except the label."""

from torch import Tensor

from robustlab.attacks.criteria.base import Criterion, Observation
from robustlab.attacks.losses import Loss, measure
from robustlab.core.spec import register


@register("misclassified")
class Misclassified(Criterion):
    """Any class except the label; an invalid answer (NaN, infinity) counts as misclassified too."""

    any_rival = True
    changes_class = True

    def reached(self, seen: Observation) -> Tensor:
        return ~seen.valid | (seen.logits.argmax(dim=1) != seen.labels)

    def loss(self, loss: Loss, seen: Observation, rivals: Tensor | None = None) -> Tensor:
        return measure(loss, seen.logits, seen.labels, rivals=rivals)


MISCLASSIFIED = Misclassified()
"""The default goal of an attacker."""
