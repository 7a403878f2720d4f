"""Branch and bound: an image that is left open is divided into cases until each is proven (beta-CROWN).

A case says of some rectifiers on which side of the bend their argument is. There the rectifier is affine, so
the linear bounds are tighter. A Lagrange multiplier of each such condition brings it into the bound. The
multipliers are optimised with the slopes (Wang et al. 2021, arXiv:2103.06624). With all rectifiers decided,
the best bound is the optimum of a linear program. So the search is complete, up to the optimiser's steps. The
bounds of the layers are those of `crown` for the whole image.

The sign is that of the argument as computed in float32, on which the computed result depends exactly. So the
proofs hold for the network as computed, as those of `crown` do.
"""

from typing import Annotated, Any

import torch
from pydantic import Field
from torch import Tensor, nn

from robustlab.certify.alpha_crown import AlphaCROWN
from robustlab.certify.backward import Node, Tighten
from robustlab.certify.base import Certifier, ProofResult
from robustlab.certify.interval import LINES, Interval
from robustlab.certify.margins import differences, linear_logits
from robustlab.certify.rules.lines import rectifier
from robustlab.certify.tightening import Tightener
from robustlab.core.arguments import LARGEST_COUNT
from robustlab.core.spec import register
from robustlab.threats import ThreatModel

_AT_ONCE = 4
"""Cases that are divided at once."""


@register("branch_and_bound")
class BranchAndBound(Certifier):
    """`alpha_crown`; where it fails, a search over the sides of the rectifiers, for small networks."""

    norms = ("linf",)
    at_once = 1

    cases: Annotated[int, Field(ge=2, le=LARGEST_COUNT)] = 200
    """The most cases that are bounded for an image; then it is left open."""
    steps: Annotated[int, Field(ge=1)] = 20
    """Steps of Adam on the slopes and multipliers of a case."""
    lr: Annotated[float, Field(gt=0.0)] = 0.2
    """Adam's step size; slopes are between 0 and 1."""

    def prove(self, model: nn.Module, images: Tensor, labels: Tensor, threat: ThreatModel) -> ProofResult:
        alpha = AlphaCROWN(steps=self.steps, lr=self.lr)
        bounds = alpha.bounds(model, images, labels, threat)
        certified, forwards, backwards = bounds.proofs
        for row in (~certified).nonzero()[:, 0].tolist():
            classes = (bounds.margins[row] <= 0).nonzero()[:, 0]
            search = _Search(alpha, model, images[row : row + 1], labels[row : row + 1], classes, threat)
            certified[row] = search.proves(self.cases)
            forwards[row] += 2 * search.bounded + 2
            backwards[row] += search.rows + 2 * (self.steps + 1) * len(classes) * search.bounded
        return ProofResult(certified, forwards, backwards)


class _Search:
    """The search for one image (1, C, H, W), against some other classes (S,)."""

    def __init__(
        self,
        alpha: AlphaCROWN,
        model: nn.Module,
        image: Tensor,
        label: Tensor,
        classes: Tensor,
        threat: ThreatModel,
    ) -> None:
        self.alpha, self.model, self.image, self.label = alpha, model, image, label
        self.classes, self.threat, self.bounded = classes, threat, 0
        tightener = Tightener(1)
        self.root = _Arguments(tightener.tighten)
        with torch.no_grad():
            self._logits(self.root, 1)
        self.rows = int(tightener.rows[0])

    def proves(self, most: int) -> bool:
        """Return whether all cases are proven, of which at most so many are bounded."""
        # How far apart the lines of each rectifier are: the widest is divided first.
        gaps = torch.cat([_gap(node).flatten() for node in self.root.bent] or [self.image.new_zeros(0)])
        queue = [gaps.new_zeros(len(gaps))]
        while queue:
            some, queue = torch.stack(queue[-_AT_ONCE:]), queue[:-_AT_ONCE]
            width, place = (gaps * (some == 0)).max(dim=1) if len(gaps) else (gaps.new_zeros(1), None)
            if place is None or (width <= 0).any() or self.bounded + 2 * len(some) > most:
                return False
            divided = torch.cat([some.scatter(1, place[:, None], side) for side in (1.0, -1.0)])
            queue += divided[~self._proven(divided)].unbind()
        return True

    def _proven(self, cases: Tensor) -> Tensor:
        """Return (N,) whether cases (N, rectifiers) are proven: 1 is above the bend, -1 below, 0 either."""
        self.bounded += len(cases)
        arguments = _Arguments(None, self.root, cases)
        with torch.no_grad():
            logits = self._logits(arguments, len(cases))
        assert logits.node is not None
        labels = self.label.expand(len(cases))
        rows = differences(labels, logits.lower.shape[1], logits.lower.dtype)[self.classes]
        sides = {node: side for node, side in zip(arguments.bent, arguments.sides, strict=True) if side.any()}
        none = torch.full(rows.shape[:2], -torch.inf, dtype=rows.dtype, device=rows.device)
        best, _ = self.alpha.optimised(logits.node, rows, none, sides=sides, possible=~arguments.empty)
        return (best > 0).all(dim=0) | arguments.empty

    def _logits(self, arguments: "_Arguments", copies: int) -> Interval:
        images = self.image.expand(copies, *self.image.shape[1:])
        return linear_logits(self.model, images, self.threat, arguments)


class _Arguments:
    """Sets the bounds of the arguments of each function that is not affine, in the order in which they occur.

    Without ``tighten`` only the bounds of the whole image are taken over, those of ``root``.

    Attributes:
        nodes: of these arguments.
        bent: those of rectifiers.
        sides: (N, ...) of each of those, its part of the cases.
        empty: (N,) whether no point of the threat model belongs to a case.
    """

    def __init__(
        self, tighten: Tighten | None, root: "_Arguments | None" = None, cases: Tensor | None = None
    ) -> None:
        self._tighten, self._root, self._cases = tighten, root, cases
        self.nodes: list[Node] = []
        self.bent: list[Node] = []
        self.sides: list[Tensor] = []
        self._begun = 0
        self.empty = torch.zeros(0 if cases is None else len(cases), dtype=torch.bool)

    def __call__(self, func: Any, x: Interval) -> None:
        """Set the bounds of a function's argument."""
        node = x.node
        assert node is not None
        if self._tighten is not None:
            self._tighten(func, x)
        if node not in self.nodes:
            self.nodes.append(node)
            if self._root is not None:
                known = self._root.nodes[len(self.nodes) - 1]
                node.lower, node.upper = node.lower.maximum(known.lower), node.upper.minimum(known.upper)
        if LINES.get(func) is rectifier and node not in self.bent:
            self.bent.append(node)
            if self._cases is not None:
                self._divide(node)
        x.lower, x.upper = node.lower, node.upper

    def _divide(self, node: Node) -> None:
        assert self._cases is not None
        size = node.lower[0].numel()
        side = self._cases[:, self._begun : self._begun + size].view_as(node.lower)
        self._begun += size
        self.sides.append(side)
        lower = torch.where(side > 0, node.lower.clamp(min=0.0), node.lower)
        upper = torch.where(side < 0, node.upper.clamp(max=0.0), node.upper)
        self.empty = self.empty.to(lower.device) | (lower > upper).flatten(1).any(dim=1)
        node.lower, node.upper = lower.minimum(upper), upper


def _gap(node: Node) -> Tensor:
    """Return how far apart the lines below and above a rectifier are; 0 away from its bend."""
    lower, upper = node.lower.clamp(max=0.0), node.upper.clamp(min=0.0)
    return -lower * upper / (upper - lower).clamp(min=1e-300)
