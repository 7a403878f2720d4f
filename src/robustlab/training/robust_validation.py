"""Validation by an attack, which chooses the kept epoch."""

from dataclasses import dataclass

from torch import nn

from robustlab.attacks import Attack
from robustlab.core.errors import SpecError
from robustlab.data import Split
from robustlab.threats import ThreatModel


@dataclass(frozen=True, kw_only=True)
class RobustValidation:
    """After each epoch the accuracy on attacked validation images; the epoch with the highest is kept.

    Of equal epochs the one with the lower validation loss is kept, then the earlier one.

    Attributes:
        attack: with the same random numbers after each epoch.
        threat: what it may do.
        images: how many, the first of the validation split; in memory at once.
        stop: the training ends when the accuracy is so far below its best; None: it does not.

    Raises:
        SpecError: the attack does not support the threat model.
    """

    attack: Attack
    threat: ThreatModel
    images: int = 1000
    stop: float | None = None

    def __post_init__(self) -> None:
        if not self.attack.supports(self.threat):
            inner = self.attack.inner
            raise SpecError(f"{inner.name} supports {inner.supported_norms}, not {self.threat!r}")

    def accuracy(self, network: nn.Module, split: Split, seed: int) -> float:
        """Return the share of the images that are classified correctly under attack."""
        part = split.take(slice(self.images))
        result = self.attack.run(
            network, part.pixels(slice(None)), part.labels, self.threat, ids=part.ids, seed=seed
        )
        return float((result.predictions == part.labels).double().mean())
