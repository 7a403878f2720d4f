"""The classifier's answers at points."""

from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class QueryResult:
    """The classifier's answers at n points, one per active image.

    Attributes:
        logits: (n, K), all finite, as `core.logits.finite` returns them; zeros where the answer is invalid.
        valid: (n,) whether the answer is valid.
        losses: (n,) the requested loss.
        reached: (n,) whether the attacker's goal is reached, at any distance.
        gradient: (n, C, H, W) of the losses, if requested.
    """

    logits: Tensor
    valid: Tensor
    losses: Tensor
    reached: Tensor
    gradient: Tensor | None = None

    @property
    def ascent(self) -> Tensor:
        """The gradient; only if it was requested."""
        if self.gradient is None:
            raise ValueError("this reading was taken without a gradient")
        return self.gradient
