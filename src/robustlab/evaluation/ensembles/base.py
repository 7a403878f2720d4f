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

    def black_box_stages(self, threat: ThreatModel, classes: int, *, only_labels: bool) -> tuple[Attack, ...]:
        """Return the attacks on a classifier without gradients: by default those that need none.

        Args:
            threat, classes: those of `stages`.
            only_labels: whether the classifier returns labels, without scores.
        """
        del only_labels
        return tuple(attack for attack in self.stages(threat, classes) if not attack.needs_gradient)

    @property
    def eot_samples(self) -> int:
        """The default number of evaluations of a random classifier at each point."""
        return 1
