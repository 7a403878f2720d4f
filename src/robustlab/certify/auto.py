"""Several certifiers in turn, the cheap ones first; only images that are left open go on to the next.

None of them is always the tightest. Interval bounds do best on networks that are trained for them, and CROWN on
others. An image is proven if one of them proves it.
"""

import contextlib
from collections.abc import Iterator
from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor, nn

from robustlab.certify.alpha_crown import AlphaCROWN
from robustlab.certify.base import Certifier, Proofs
from robustlab.certify.crown import CROWN
from robustlab.certify.crown_ibp import crown_ibp
from robustlab.certify.ibp import IBP
from robustlab.certify.interval import NoRuleError
from robustlab.core.spec import register
from robustlab.threats import ThreatModel


@register("auto")
class Auto(Certifier):
    """`ibp`, then within Linf `crown_ibp`, then `crown` on small networks; on request `alpha_crown`.

    Attributes:
        work: `crown` is tried where its ways back take at most so many coefficients for the image.
        alpha: whether `alpha_crown` takes the place of `crown`, at any cost.
    """

    norms = ("linf", "l2", "l1", "l0")

    work: Annotated[float, Field(ge=0.0)] = 1e6
    alpha: bool = False

    def prove(self, model: nn.Module, images: Tensor, labels: Tensor, threat: ThreatModel) -> Proofs:
        certified = IBP().prove(model, images, labels, threat)
        found = Proofs(certified, IBP().passes(certified) - 1, torch.zeros_like(labels, dtype=torch.int64))
        if threat.is_one_of(CROWN.norms):
            # The network may hold what has interval bounds only.
            with contextlib.suppress(NoRuleError):
                for rows, proofs in self._further(model, images, labels, threat, certified):
                    certified[rows] = proofs.certified
                    found.forwards[rows] += proofs.forwards
                    found.backwards[rows] += proofs.backwards
        return found

    def _further(
        self, model: nn.Module, images: Tensor, labels: Tensor, threat: ThreatModel, certified: Tensor
    ) -> Iterator[tuple[Tensor, Proofs]]:
        """Yield rows of images that are open at that moment, with what was found out about them."""
        rows = (~certified).nonzero()[:, 0]
        if not len(rows):
            return
        margins, backwards, work = crown_ibp(model, images[rows], labels[rows], threat)
        proven = (margins > 0).all(dim=1)
        yield rows, Proofs(proven, torch.full_like(backwards, 2), backwards)
        rows = rows[~proven & (self.alpha | (work <= self.work))]
        if len(rows):
            last = AlphaCROWN() if self.alpha else CROWN()
            yield rows, last.prove(model, images[rows], labels[rows], threat)
