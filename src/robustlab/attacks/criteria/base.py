"""What every criterion has."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from robustlab.attacks.losses import Loss
from robustlab.core.spec import Unit


@dataclass(frozen=True, kw_only=True)
class Observation:
    """What a criterion judges: points, and what the classifier says of them.

    Attributes:
        points: (n, C, H, W).
        logits: (n, K), all finite, as `core.logits.finite` returns them; zeros without an answer.
        valid: (n,) whether there is an answer.
        labels: (n,) the true classes.
        targets: (n,) what the criterion's `targets` returned for these images.
    """

    points: Tensor
    logits: Tensor
    valid: Tensor
    labels: Tensor
    targets: Tensor | None


class Criterion(Unit, ABC):
    """When an attack has reached its goal on an image, and the loss that leads there.

    Attacks and sessions ask the criterion and compare no classes themselves.
    """

    kind = "criterion"
    example = "targeted(classes=next)"
    targeted: ClassVar[bool] = False
    """Whether the goal is a class of each image: an attack that is not `targetable` refuses it."""
    any_rival: ClassVar[bool] = False
    """Whether the goal is reached wherever some class lies above the label, whichever it is: an attack may
    then go for the class whose boundary is the nearest, and leave the criterion's loss aside."""

    def targets(self, labels: Tensor, clean_logits: Callable[[], Tensor]) -> Tensor | None:
        """Return the classes (n,) to move towards, or None where any wrong class will do.

        Args:
            labels: (n,) the true classes.
            clean_logits: returns (n, K), in fp32, of the clean images; one forward pass when called.
        """
        del labels, clean_logits
        return None

    def impossible(self, labels: Tensor, targets: Tensor | None) -> Tensor | None:
        """Return (n,) which images can't reach the goal and are left alone; None: none."""
        del labels, targets
        return None

    @abstractmethod
    def reached(self, seen: Observation) -> Tensor:
        """Return (n,) whether the goal is reached, at any distance."""

    @abstractmethod
    def loss(self, loss: Loss, seen: Observation, rivals: Tensor | None = None) -> Tensor:
        """Return the loss (n,) to maximise, differentiable in logits and points.

        Args:
            loss: a name of `losses.Loss`.
            seen: what is judged.
            rivals: (n,) the class above the label that the attack has chosen, where any would do.
        """
