"""Purification: images pass through a generative model before they are classified.

MagNet (Meng & Chen 2017, arXiv:1705.09064) calls the generative part a reformer.
"""

from collections.abc import Mapping
from typing import ClassVar

from torch import nn

from robustlab.core.spec import BareText, register
from robustlab.defenses.base import ComposedDefense
from robustlab.models.purifier import PurifiedClassifier


@register("purifier")
class Purifier(ComposedDefense):
    """Reconstruct every image with a generative network, then classify the reconstruction.

    The model ``purifier`` trains both networks together.
    """

    network_kinds: ClassVar[Mapping[str, str]] = {"network": "autoencoder", "classifier": "classifier"}
    network: BareText
    """The network that reconstructs."""
    classifier: BareText
    """The network that classifies the reconstruction."""

    def compose(self, networks: Mapping[str, nn.Module]) -> nn.Module:
        return PurifiedClassifier(networks[self.network], networks[self.classifier]).eval()
