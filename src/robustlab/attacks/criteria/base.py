"""The base class of every criterion."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from robustlab.attacks.losses import Loss
from robustlab.core.spec import Unit


@dataclass(frozen=True, kw_only=True)
class Observation:
    """The data that a criterion judges: points, and the classifier's answers at them.

    Attributes:
        points: (n, C, H, W).
        logits: (n, K), all finite, as `core.logits.finite` returns them; zeros without a valid answer.
        valid: (n,) whether the answer is valid.
        labels: (n,) the true classes.
        targets: (n,) the result of the criterion's `targets` for these images.
    """

    points: Tensor
    logits: Tensor
    valid: Tensor
    labels: Tensor
    targets: Tensor | None


class Criterion(Unit, ABC):
    """When an attack has reached its goal on an image, and the loss that leads there.

    Attacks and sessions ask the criterion and never compare classes themselves.
    """

    kind = "criterion"
    example = "targeted(classes=next)"
    targeted: ClassVar[bool] = False
    """Whether each image has a target class; an attack that is not `targetable` refuses such a criterion."""
    any_rival: ClassVar[bool] = False
    """Whether the goal is reached as soon as any class lies above the label. An attack may then choose the
    class with the nearest boundary, and ignore the criterion's loss."""

    changes_class: ClassVar[bool] = False
    """Whether every success has another class than the label. A proof that no other class is reached then
    excludes a success, too; without it, evaluations do not look for proofs."""

    def targets(self, labels: Tensor, clean_logits: Callable[[], Tensor]) -> Tensor | None:
        """Return the classes (n,) to move towards, or None if any wrong class is a success.

        Args:
            labels: (n,) the true classes.
            clean_logits: returns (n, K), in fp32, of the clean images; one forward pass when called.
        """
        del labels, clean_logits
        return None

    def impossible(self, labels: Tensor, targets: Tensor | None) -> Tensor | None:
        """Return (n,) which images can't reach the goal and are skipped; None: all can reach it."""
        del labels, targets
        return None

    @abstractmethod
    def reached(self, seen: Observation) -> Tensor:
        """Return (n,) whether the goal is reached, at any distance."""

    @abstractmethod
    def loss(self, loss: Loss, seen: Observation, rivals: Tensor | None = None) -> Tensor:
        """Return the loss (n,) to maximise, differentiable in logits and points.

        Args:
            loss: the name of a loss, one of `losses.Loss`.
            seen: the points and the classifier's answers.
            rivals: (n,) the class that the attack has chosen to raise above the label, if any class would be
                a success.
        """
