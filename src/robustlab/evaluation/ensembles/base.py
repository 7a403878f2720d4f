"""The base class of every ensemble: attacks run in order on an image, until one breaks it."""

from abc import ABC, abstractmethod

from robustlab.attacks import Attack
from robustlab.core.spec import Unit
from robustlab.threats import ThreatModel


class Ensemble(Unit, ABC):
    """A named list of attacks for a threat model and a number of classes."""

    kind = "ensemble"
    example = "standard"

    @abstractmethod
    def stages(self, threat: ThreatModel, classes: int) -> tuple[Attack, ...]:
        """Return the attacks in order; those that do not support the threat model are left out."""

    @property
    def eot_samples(self) -> int:
        """The default number of evaluations of a random classifier at each point."""
        return 1
