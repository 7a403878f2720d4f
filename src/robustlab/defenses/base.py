"""Defenses return a classifier that is trained differently, or is composed of networks."""

from abc import ABC, abstractmethod
from collections.abc import Mapping

from torch import nn

from robustlab.core.progress import Progress
from robustlab.core.spec import Unit
from robustlab.data import Split
from robustlab.models.base import UsesNetworks


class Defense(UsesNetworks, Unit, ABC):
    """A way to make a classifier harder to attack."""

    kind = "defense"
    example = "purifier(network=vae, classifier=baseline)"


class TrainedDefense(Defense):
    """A defense that changes the training set of the classifier."""

    @abstractmethod
    def training_set(
        self, split: Split, networks: Mapping[str, nn.Module], *, seed: int, progress: Progress
    ) -> Split:
        """Return the split to train (or to validate) on instead of the given one, on the CPU."""


class ComposedDefense(Defense):
    """A defense made of trained networks; the composition is itself a classifier, to be attacked as one."""

    @abstractmethod
    def compose(self, networks: Mapping[str, nn.Module]) -> nn.Module:
        """Return the classifier: pixel-scale images in, logits out, differentiable end to end."""
