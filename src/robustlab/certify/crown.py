"""CROWN: linear bounds from the logits back to the pixels (Zhang et al. 2018, arXiv:1811.00866; `backward`).

The lines below and above an activation depend on bounds of its arguments. Intervals give the first bounds.
Where they do not decide on which side of its bend an activation is, a way back from that argument gives
tighter ones (Xu et al. 2020, arXiv:2002.12920). The difference of two logits is bounded as one linear
function.

An image takes one way back, of a part of the network, for each such argument and for each other class. At
most `tightening.MEMORY` bytes of coefficients are kept at once.
"""

import torch
from torch import Tensor, nn

from robustlab.certify.backward import Tape
from robustlab.certify.base import Certifier, ProofResult
from robustlab.certify.crown_ibp import crown_ibp
from robustlab.certify.margins import Bounds, in_groups, logits_of, margins_of
from robustlab.certify.region import region
from robustlab.certify.tightening import Tightener
from robustlab.core.spec import register
from robustlab.threats import ThreatModel


@register("crown")
class CROWN(Certifier):
    """Linear bounds, the bounds of every layer by linear bounds too: tight and slow."""

    norms = ("linf",)
    at_once = 4

    def prove(self, model: nn.Module, images: Tensor, labels: Tensor, threat: ThreatModel) -> ProofResult:
        return crown(model, images, labels, threat).proofs

    def margins(self, model: nn.Module, images: Tensor, labels: Tensor, threat: ThreatModel) -> Tensor:
        """Return (N, K) float64 lower bounds on the label's logit minus each other one, in the threat model.

        They hold for the logits as computed in float32. At the label itself the bound is infinite. They are
        at least those of `crown_ibp`.

        Raises:
            NoRuleError: the network can't be bounded, or its bounds leave the range of float32.
        """
        return crown(model, images, labels, threat, everywhere=True).margins


def crown(
    model: nn.Module, images: Tensor, labels: Tensor, threat: ThreatModel, *, everywhere: bool = False
) -> Bounds:
    """Return the bounds of CROWN-IBP, and better ones of the images that it does not prove, or of all."""

    def bounded(images: Tensor, labels: Tensor) -> Bounds:
        tightener = Tightener(len(images))
        pixels = Tape(tightener.tighten).start(region(images, threat, torch.float64))
        margins = margins_of(logits_of(model, pixels), labels)
        return Bounds(margins, torch.full_like(tightener.rows, 2), tightener.rows + margins.shape[1] - 1)

    bounds = crown_ibp(model, images, labels, threat)
    rows = (~bounds.proven | everywhere).nonzero()[:, 0]
    if len(rows):
        bounds.improve(rows, in_groups(bounded, images[rows], labels[rows]))
    return bounds
