"""CROWN: linear bounds from the logits back to the pixels (Zhang et al. 2018, arXiv:1811.00866; `backward`).

The lines below and above an activation depend on bounds of its arguments. Intervals give the first bounds.
Where they do not decide on which side of its bend an activation is, a way back from that argument gives
tighter ones (Xu et al. 2020, arXiv:2002.12920). The difference of two logits is bounded as one linear
function.

An image takes one way back, of a part of the network, for each such argument and for each other class. At
most `tightening.MEMORY` bytes of coefficients are kept at once.

The last layers of most classifiers are small, and their bounds matter most. So these are tightened first,
and only images that are not proven then pay for the large layers.
"""

import math

import torch
from torch import Tensor, nn

from robustlab.certify.backward import Tape
from robustlab.certify.base import Certifier, ProofResult
from robustlab.certify.crown_ibp import crown_ibp
from robustlab.certify.margins import Bounds, in_groups, logits_of, margins_of
from robustlab.certify.region import region
from robustlab.certify.tightening import Tightener, WorkCounter
from robustlab.core.spec import register
from robustlab.threats import ThreatModel

_SMALL = 512
"""Values that a small layer has at most, for an image."""


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
    """Return bounds with all layers tightened for the images that need it, or for all images."""
    bounds = with_small_layers(model, images, labels, threat)
    rows = (~bounds.proven | everywhere).nonzero()[:, 0]
    if len(rows):
        bounds.improve(rows, _tightened(model, images[rows], labels[rows], threat, math.inf))
    return bounds


def with_small_layers(model: nn.Module, images: Tensor, labels: Tensor, threat: ThreatModel) -> Bounds:
    """Return the bounds of CROWN-IBP, and with small layers tightened of the images that need it.

    If all layers are small, nothing is tightened: the next step would be the same.
    """
    bounds = crown_ibp(model, images, labels, threat)
    rows = (~bounds.proven).nonzero()[:, 0]
    if len(rows):
        sizes = work_of(model, images[:1], threat).sizes
        if sizes and min(sizes) <= _SMALL < max(sizes):
            bounds.improve(rows, _tightened(model, images[rows], labels[rows], threat, _SMALL))
    return bounds


def work_of(model: nn.Module, image: Tensor, threat: ThreatModel) -> WorkCounter:
    """Return what tightening all layers would take, for an image (1, C, H, W)."""
    counter = WorkCounter()
    with torch.no_grad():
        logits_of(model, Tape(counter.tighten).start(region(image, threat, torch.float64)))
    return counter


def _tightened(
    model: nn.Module, images: Tensor, labels: Tensor, threat: ThreatModel, largest: float
) -> Bounds:
    def bounded(images: Tensor, labels: Tensor) -> Bounds:
        tightener = Tightener(len(images), largest)
        pixels = Tape(tightener.tighten).start(region(images, threat, torch.float64))
        margins = margins_of(logits_of(model, pixels), labels)
        return Bounds(margins, torch.full_like(tightener.rows, 2), tightener.rows + margins.shape[1] - 1)

    return in_groups(bounded, images, labels)
