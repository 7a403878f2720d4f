"""The default: several certifiers in turn, the cheap ones first, and only where they may be worth their time.

Interval bounds do best on networks that are trained for them, CROWN on others. What is tried depends on the
network and the image alone, not on other images or on measured times, so that the same images are proven
everywhere.
"""

import contextlib
from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor, nn

from robustlab.certify.alpha_crown import AlphaCROWN
from robustlab.certify.base import Certifier, ProofResult
from robustlab.certify.crown import CROWN, work_of
from robustlab.certify.crown_ibp import CROWNIBP
from robustlab.certify.ibp import IBP
from robustlab.certify.interval import NoRuleError
from robustlab.certify.nearest_prototype import NearestPrototype
from robustlab.certify.step_splitting import StepSplitting
from robustlab.core.calling import ask
from robustlab.core.spec import register
from robustlab.models import PrototypeClassifier
from robustlab.threats import ThreatModel


@register("auto")
class AutoCertifier(Certifier):
    """`ibp`; within Linf, where it proves nothing, `crown` on small networks and `crown_ibp` on others.

    Behind a threshold `step_splitting` follows instead. For prototypes within L2 it is `nearest_prototype`.
    """

    norms = ("linf", "l2", "l1", "l0")

    work: Annotated[float, Field(ge=0.0)] = 1e6
    """A network is small if `crown` takes at most so many coefficients for an image."""
    hope: Annotated[float, Field(ge=0.0)] = 4.0
    """`crown_ibp` and `step_splitting` are tried where the margin by interval bounds is above minus so many
    times the clean one."""
    alpha: bool = False
    """Whether `alpha_crown` is tried, at any cost, instead of both."""

    def prove(self, model: nn.Module, images: Tensor, labels: Tensor, threat: ThreatModel) -> ProofResult:
        if type(model) is PrototypeClassifier and threat.is_one_of(NearestPrototype.norms):
            proven = NearestPrototype().prove(model, images, labels, threat)
            nothing = torch.zeros_like(labels)
            return ProofResult(proven, nothing, nothing.clone())
        result, rough = IBP().look(model, images, labels, threat)
        if result.certified.all() or not threat.is_one_of(CROWN.norms):
            return result
        # The network may do what only interval bounds can follow.
        with contextlib.suppress(NoRuleError):
            following = self._following(model, images[:1], threat)
            open_ones = ~result.certified
            if isinstance(following, CROWNIBP | StepSplitting):
                result.forwards[open_ones] += 1
                hopeful = self._hopeful(model, images[open_ones], labels[open_ones], rough[open_ones])
                open_ones[open_ones.clone()] = hopeful
            if open_ones.any():
                result.follow(open_ones, following.prove(model, images[open_ones], labels[open_ones], threat))
        return result

    def _following(
        self, model: nn.Module, image: Tensor, threat: ThreatModel
    ) -> AlphaCROWN | CROWN | CROWNIBP | StepSplitting:
        """Return the certifier that follows, given an image of the same shape as all."""
        if self.alpha:
            return AlphaCROWN()
        counted = work_of(model, image, threat)
        if counted.steps:
            return StepSplitting()
        return CROWN() if counted.work <= self.work else CROWNIBP()

    def _hopeful(self, model: nn.Module, images: Tensor, labels: Tensor, rough: Tensor) -> Tensor:
        with torch.no_grad():
            logits: Tensor = ask(model, images)
        here = labels[:, None]
        margins = (logits.gather(1, here) - logits).scatter(1, here, torch.inf)
        return rough.amin(dim=1) > -self.hope * margins.amin(dim=1)
