"""What the certifiers share: the network's logits as bounds, and the margins between them."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

import robustlab.certify.rules  # noqa: F401 (they register themselves)
from robustlab.certify.backward import Tape, Tighten, lower_bounds
from robustlab.certify.base import Certifier, ProofResult, clean_logits
from robustlab.certify.interval import Interval, NoRuleError
from robustlab.certify.region import region
from robustlab.core.calling import UserCodeError, calling, in_one_line, is_out_of_memory
from robustlab.core.errors import RobustlabError
from robustlab.core.threads import begin_work
from robustlab.threats import ThreatModel

_TOGETHER = 4
"""Images at once on a CPU: with more, its time goes into fetching memory."""


class Bounds(NamedTuple):
    """Lower bounds of margins, and what they took.

    Attributes:
        margins: (N, K) float64, of the label's logit minus each other one; infinite at the label.
        forwards: (N,) int64, passes forward of each image.
        backwards: (N,) int64, ways back.
    """

    margins: Tensor
    forwards: Tensor
    backwards: Tensor

    @property
    def proven(self) -> Tensor:
        """(N,) bool: whether all margins are positive."""
        return (self.margins > 0).all(dim=1)

    @property
    def proofs(self) -> ProofResult:
        """The same as a certifier returns it."""
        return ProofResult(self.proven, self.forwards, self.backwards)

    def improve(self, rows: Tensor, bounds: "Bounds") -> None:
        """Take over the better bounds of the images at (M,) rows."""
        self.margins[rows] = torch.maximum(self.margins[rows], bounds.margins)
        self.forwards[rows] += bounds.forwards
        self.backwards[rows] += bounds.backwards


class LinearCertifier(Certifier, ABC):
    """A certifier by linear bounds of the margins."""

    norms = ("linf",)

    @abstractmethod
    def bounds(
        self, model: nn.Module, images: Tensor, labels: Tensor, threat: ThreatModel, *, every: bool = False
    ) -> Bounds:
        """Return bounds: the best ones for images that cheaper ones don't prove, or for every image."""

    def prove(self, model: nn.Module, images: Tensor, labels: Tensor, threat: ThreatModel) -> ProofResult:
        return self.bounds(model, images, labels, threat).proofs

    def margins(self, model: nn.Module, images: Tensor, labels: Tensor, threat: ThreatModel) -> Tensor:
        """Return (N, K) float64 lower bounds on the label's logit minus each other one, in the threat model.

        They hold for the logits as computed in float32. At the label itself the bound is infinite. Those of
        `crown` are at least those of `crown_ibp`, and those of `alpha_crown` at least those of `crown`.

        Raises:
            NoRuleError: the network can't be bounded, or its bounds leave the range of float32.
        """
        return self.bounds(model, images, labels, threat, every=True).margins


def linear_logits(
    model: nn.Module,
    images: Tensor,
    threat: ThreatModel,
    tighten: Tighten | None = None,
    *,
    check: bool = False,
) -> Interval:
    """Return the bounds of a network's logits, with a node; ``tighten`` as for `Tape`.

    With ``check`` the images' own logits must lie within them, as for `logits_of`.
    """
    pixels = Tape(tighten).start(region(images, threat, torch.float64))
    return logits_of(model, pixels, images if check else None)


def logits_of(model: nn.Module, pixels: Interval, images: Tensor | None = None) -> Interval:
    """Return the bounds of a network's logits.

    Args:
        model: in eval mode.
        pixels: the bounds of the images (N, C, H, W), in float64 if ``images`` are given.
        images: (N, C, H, W) float32 within these bounds. Their logits must lie within those of the result.
            This finds networks that compute something else where they get an `Interval`.

    Raises:
        NoRuleError: it can't be bounded, or returns something else; also if the network catches the error.
    """
    # A compiled network is bounded as the module that it was compiled from.
    model = getattr(model, "_orig_mod", model)
    begin_work(pixels.lower, "bounds")
    own = pixels.copied()  # a network may change its input in place
    try:
        with calling("the model", " when it was bounded"):
            logits = model(own)
        _check_not_refused(own)
    except UserCodeError as error:
        if not error.quits and error.__cause__ not in own.refused:
            _check_not_refused(own)
        raise
    finally:
        own.refused.clear()  # an error holds the bounds by its traceback, and they hold the list
    n = len(pixels.lower)
    if not isinstance(logits, Interval) or logits.lower.ndim != 2 or len(logits.lower) != n:
        raise NoRuleError("its output is not one row of logits per image that depends on the image")
    logits.check_current()
    if images is not None:
        _check_contained(clean_logits(model, images), logits)
    return logits


def _check_contained(clean: Tensor, bounds: Interval) -> None:
    outside = (clean < bounds.lower) | (clean > bounds.upper) if clean.shape == bounds.shape else None
    if outside is None or outside.any():
        raise NoRuleError("it computes something else on bounds than on images: its logits are not in theirs")


def _check_not_refused(pixels: Interval) -> None:
    """Raise the first error of a pass, if any: the network caught it, and went on without its result."""
    for error in pixels.refused:
        own = isinstance(error, RobustlabError) or not isinstance(error, Exception)
        try:
            if own or is_out_of_memory(error):
                raise error
            raise NoRuleError(f"the network catches an error of its bounds: {in_one_line(error)}") from error
        finally:
            del error  # else its traceback holds this frame, and the frame holds it


def differences(labels: Tensor, classes: int, dtype: torch.dtype) -> Tensor:
    """Return (K, N, K) the coefficients of each label's logit minus each logit."""
    eye = torch.eye(classes, dtype=dtype, device=labels.device)
    return F.one_hot(labels, classes).to(dtype)[None] - eye[:, None]


def margins_of(logits: Interval, labels: Tensor) -> Tensor:
    """Return (N, K) lower bounds on the label's logit minus each other one, infinite at the label.

    Args:
        logits: with a node.
        labels: (N,) classes.
    """
    assert logits.node is not None
    rows = differences(labels, logits.lower.shape[1], logits.lower.dtype)
    margins = lower_bounds(logits.node, rows).T
    return margins.nan_to_num(-torch.inf).scatter(1, labels[:, None], torch.inf)


def in_groups(bounded: Callable[..., Bounds], *values: Tensor) -> Bounds:
    """Return what a function of (images, labels, ...) returns, computed for a few images at a time."""
    few = _TOGETHER if values[0].device.type == "cpu" else max(1, len(values[0]))
    with torch.no_grad():
        parts = zip(*(torch.split(value, few) for value in values), strict=True)
        return Bounds(*(torch.cat(part) for part in zip(*(bounded(*part) for part in parts), strict=True)))
