"""CROWN-IBP: interval bounds for the layers, then one way back (Zhang et al. 2020, arXiv:1906.06316; `backward`).

An image takes two passes forward, in float64, and one way back for each other class.
"""

import torch
from torch import Tensor, nn

from robustlab.certify.backward import Tape
from robustlab.certify.base import Certifier, Proofs
from robustlab.certify.margins import in_groups, logits_of, margins_of
from robustlab.certify.region import region
from robustlab.certify.tightening import work_left
from robustlab.core.spec import register
from robustlab.threats import ThreatModel


@register("crown_ibp")
class CROWNIBP(Certifier):
    """Interval bounds of the layers, and linear bounds from the logits to the pixels."""

    norms = ("linf",)

    def prove(self, model: nn.Module, images: Tensor, labels: Tensor, threat: ThreatModel) -> Proofs:
        margins, rows, _ = crown_ibp(model, images, labels, threat)
        return Proofs((margins > 0).all(dim=1), torch.full_like(rows, 2), rows)

    def margins(self, model: nn.Module, images: Tensor, labels: Tensor, threat: ThreatModel) -> Tensor:
        """Return (N, K) float64 lower bounds on the label's logit minus each other one, in the threat model.

        They hold for the logits as computed in float32. At the label itself the bound is infinite.

        Raises:
            NoRuleError: the network can't be bounded, or its bounds leave the range of float32.
        """
        return crown_ibp(model, images, labels, threat)[0]


def crown_ibp(
    model: nn.Module, images: Tensor, labels: Tensor, threat: ThreatModel
) -> tuple[Tensor, Tensor, Tensor]:
    """Return the margins (N, K), (N,) how many ways back they took, and (N,) `work_left`."""

    def bounded(images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        logits = logits_of(model, Tape().start(region(images, threat, torch.float64)))
        assert logits.node is not None
        margins = margins_of(logits, labels)
        return margins, torch.full_like(labels, margins.shape[1] - 1), work_left(logits.node)

    return in_groups(bounded, images, labels)
