"""CROWN: linear bounds from the logits back to the pixels (Zhang et al. 2018, arXiv:1811.00866; `backward`).

The lines below and above an activation depend on bounds of its arguments. Here they come from a way back of their
own, from each argument whose interval leaves it open which way the activation goes (Xu et al. 2020,
arXiv:2002.12920). The difference of two logits is bounded as one linear function, so the last layer costs
nothing.

An image takes one way back, of a part of the network, for each such argument and each other class. At most
`tightening.MEMORY` bytes of coefficients are kept at once.
"""

import torch
from torch import Tensor, nn

from robustlab.certify.backward import Tape
from robustlab.certify.base import Certifier, Proofs
from robustlab.certify.crown_ibp import crown_ibp
from robustlab.certify.margins import in_groups, logits_of, margins_of
from robustlab.certify.region import region
from robustlab.certify.tightening import Tightener
from robustlab.core.spec import register
from robustlab.threats import ThreatModel


@register("crown")
class CROWN(Certifier):
    """Linear bounds, the bounds of every layer by linear bounds too: tight and slow."""

    norms = ("linf",)

    def prove(self, model: nn.Module, images: Tensor, labels: Tensor, threat: ThreatModel) -> Proofs:
        margins, rows = crown(model, images, labels, threat)
        certified = (margins > 0).all(dim=1)
        return Proofs(certified, torch.full_like(rows, 4), rows)

    def margins(self, model: nn.Module, images: Tensor, labels: Tensor, threat: ThreatModel) -> Tensor:
        """Return (N, K) float64 lower bounds on the label's logit minus each other one, in the threat model.

        They hold for the logits as computed in float32. At the label itself the bound is infinite. They are at
        least those of `crown_ibp`.

        Raises:
            NoRuleError: the network can't be bounded, or its bounds leave the range of float32.
        """
        return crown(model, images, labels, threat)[0]


def crown(model: nn.Module, images: Tensor, labels: Tensor, threat: ThreatModel) -> tuple[Tensor, Tensor]:
    """Return the margins (N, K), and (N,) how many ways back they took."""

    def bounded(images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        tightener = Tightener(len(images))
        pixels = Tape(tightener.tighten).start(region(images, threat, torch.float64))
        margins = margins_of(logits_of(model, pixels), labels)
        return margins, tightener.rows + margins.shape[1] - 1

    coarse, few, _ = crown_ibp(model, images, labels, threat)
    fine, many = in_groups(bounded, images, labels)
    return torch.maximum(coarse, fine), few + many
