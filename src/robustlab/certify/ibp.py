"""Interval bound propagation (Gowal et al. 2018, arXiv:1810.12715).

Every layer turns bounds of its inputs into bounds of its outputs. The outputs of the last linear layer are
not bounded one by one. The difference of two logits is itself linear in that layer's input, and a direct
bound of it is tighter (the paper's section 3, "elision of the last layer").

Cost per image: one forward pass for the verdict on the clean image, and two for a quick test in float32
(centre and radius). This excludes most images that can't be proven. Each other image takes two passes in
float64, and one to see that its own logits lie within the bounds.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from robustlab.certify.base import Certifier, ProofResult
from robustlab.certify.interval import Ball, Interval, IntervalSource
from robustlab.certify.margins import logits_of
from robustlab.certify.region import region
from robustlab.certify.rounding import gamma
from robustlab.certify.rules.linear import through
from robustlab.core.spec import register
from robustlab.threats import ThreatModel

_AT_ONCE = {torch.float32: 50, torch.float64: 8}
"""Images per pass on a CPU: more images exceed the caches and take two to three times as long."""


@register("ibp")
class IBP(Certifier):
    """Interval bounds through every layer; tight only on networks trained for them."""

    norms = ("linf", "l2", "l1", "l0")

    def prove(self, model: nn.Module, images: Tensor, labels: Tensor, threat: ThreatModel) -> ProofResult:
        return self.look(model, images, labels, threat)[0]

    def margins(self, model: nn.Module, images: Tensor, labels: Tensor, threat: ThreatModel) -> Tensor:
        """Return (N, K) float64 lower bounds on the label's logit minus each other one, in the threat model.

        They hold for the logits as computed in float32. At the label itself the bound is infinite.

        Raises:
            NoRuleError: the network can't be bounded, or its bounds leave the range of float32.
        """
        return _margins(model, images, labels, threat, torch.float64)

    def look(
        self, model: nn.Module, images: Tensor, labels: Tensor, threat: ThreatModel
    ) -> tuple[ProofResult, Tensor]:
        """Return what `prove` does, and (N, K) margins without an allowance for rounding."""
        rough = _margins(model, images, labels, threat, torch.float32)
        # At eps 0 `explain` asks: then it matters whether the network can be bounded.
        hopeful = (rough > 0).all(dim=1) | (threat.eps == 0)
        certified = hopeful.clone()
        if hopeful.any():
            margins = self.margins(model, images[hopeful], labels[hopeful], threat)
            certified[hopeful] = (margins > 0).all(dim=1)
        # Centre and radius in fp32; if these may prove the image, in fp64 too, and the image itself.
        return ProofResult(certified, 2 + 3 * hopeful.long(), torch.zeros_like(labels)), rough


def _margins(
    model: nn.Module, images: Tensor, labels: Tensor, threat: ThreatModel, dtype: torch.dtype
) -> Tensor:
    few = _AT_ONCE[dtype] if images.device.type == "cpu" else max(1, len(images))
    parts = zip(torch.split(images, few), torch.split(labels, few), strict=True)
    sound = dtype is torch.float64
    with torch.no_grad():
        bounds = (
            margin_bounds(model, of, region(some, threat, dtype), some if sound else None)
            for some, of in parts
        )
        return torch.cat(list(bounds))


def margin_bounds(model: nn.Module, labels: Tensor, pixels: Interval, images: Tensor | None = None) -> Tensor:
    """Return (N, K) lower bounds on the label's logit minus each other one, in the dtype of ``pixels``.

    At the label itself the bound is infinite. Only float64 bounds allow for rounding, and prove something.
    The bounds have a gradient with respect to the weights, so that a training can use them.

    Args:
        model: in eval mode.
        labels: (N,).
        pixels: the bounds of the images (N, C, H, W).
        images: images within these bounds whose logits must lie within the bounds of the logits.

    Raises:
        NoRuleError: the network can't be bounded, or computes something else on bounds than on images.
    """
    return interval_margins(logits_of(model, pixels, images), labels)


def interval_margins(logits: Interval, labels: Tensor) -> Tensor:
    """Return the margins of `margin_bounds`, given the bounds of the logits."""
    here = labels[:, None]
    if logits.source is not None and len(logits.source.values.lower) == len(labels):
        margins = _elided(logits.source, labels)
    else:
        margins = logits.lower.gather(1, here) - logits.upper
    return margins.scatter(1, here, torch.inf)


def _elided(source: IntervalSource, labels: Tensor) -> Tensor:
    """Return the bounds from differences of the last layer's rows, label by label."""
    values, weight, bias = source
    dtype = weight.dtype
    bias = torch.zeros_like(weight[:, 0]) if bias is None else bias
    margins = torch.empty(len(labels), len(weight), dtype=dtype, device=labels.device)
    for label in torch.unique(labels).tolist():
        rows = labels == label
        chosen = _rows(values, rows)
        lower, _ = through(F.linear, chosen, weight[label] - weight, bias[label] - bias, 0.0)
        # The two logits are computed, and rounded, one by one.
        size = torch.maximum(-chosen.lower, chosen.upper)
        noise = gamma(weight.shape[1] + 1, dtype) * F.linear(size, weight.abs(), bias.abs())
        margins[rows] = lower - noise - noise[:, [label]]
    return margins


def _rows(values: Interval, rows: Tensor) -> Interval:
    ball = values.ball
    if ball is not None:
        ball = Ball(ball.order, ball.eps, *(part[rows] for part in ball[2:]))
    return Interval(values.lower[rows], values.upper[rows], ball=ball)
