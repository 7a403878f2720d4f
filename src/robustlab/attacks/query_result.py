"""What the classifier says of points."""

from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class QueryResult:
    """What the classifier says of n points, one per active image.

    Attributes:
        logits: (n, K), all finite, as `core.logits.finite` returns them; zeros without an answer.
        valid: (n,) whether there is an answer.
        losses: (n,) of the loss asked for.
        reached: (n,) whether the attacker's goal is reached there, at any distance.
        gradient: (n, C, H, W) of the losses, if it was asked for.
    """

    logits: Tensor
    valid: Tensor
    losses: Tensor
    reached: Tensor
    gradient: Tensor | None = None

    @property
    def ascent(self) -> Tensor:
        """The gradient, where one was asked for."""
        if self.gradient is None:
            raise ValueError("this reading was taken without a gradient")
        return self.gradient
