"""Branch and bound behind a threshold: pixels that may turn black or white are decided one by one.

The result of a step function is 0 or 1. A case says of some results which. It is bounded by intervals; if
that does not suffice, one more result is decided, either way. With all results decided, a case is one image
behind the threshold, and its bounds are exact up to rounding. So the search is complete, given enough cases.
Few pixels of MNIST are near a threshold, and a network that is trained with interval bounds needs few cases.

Linear bounds of the whole image prove others than the search does. `alpha_crown` gets those that reach the
limit of cases.
"""

import contextlib
from typing import Annotated, Any

import torch
from pydantic import Field
from torch import Tensor, nn

from robustlab.certify.alpha_crown import AlphaCROWN
from robustlab.certify.backward import Tape
from robustlab.certify.base import Certifier, ProofResult
from robustlab.certify.ibp import IBP, margin_bounds
from robustlab.certify.interval import Interval, NoRuleError, intervals
from robustlab.certify.region import region
from robustlab.certify.rules.steps import STEPS
from robustlab.core.arguments import LARGEST_COUNT
from robustlab.core.spec import register
from robustlab.threats import ThreatModel

_AT_ONCE = 32
"""Cases that are bounded at once."""


@register("step_splitting")
class StepSplitting(Certifier):
    """`ibp`; where it fails, a search over the black and white images behind a threshold; then `alpha_crown`.

    For networks with a `Threshold`, such as the architecture `thresholded`.
    """

    norms = ("linf",)
    at_once = 10

    cases: Annotated[int, Field(ge=2, le=LARGEST_COUNT)] = 1000
    """The most cases that are bounded for an image."""

    def prove(self, model: nn.Module, images: Tensor, labels: Tensor, threat: ThreatModel) -> ProofResult:
        if not _Search(model, images[:1], labels[:1], threat).root.shape[0]:
            raise NoRuleError("it has no threshold")
        result = IBP().prove(model, images, labels, threat)
        left = torch.zeros_like(result.certified)
        for row in (~result.certified).nonzero()[:, 0].tolist():
            search = _Search(model, images[row : row + 1], labels[row : row + 1], threat)
            answer = search.answer(self.cases)
            result.certified[row], left[row] = answer is True, answer is None
            result.forwards[row] += search.forwards
            result.backwards[row] += search.backwards
        # Only interval bounds may have rules for all that the network does.
        with contextlib.suppress(NoRuleError):
            if left.any():
                result.follow(left, AlphaCROWN().prove(model, images[left], labels[left], threat))
        return result


class _Search:
    """The search for one image (1, C, H, W) of a class (1,).

    A case is (S,) for the S results of step functions: 1, 0, or NaN where it is open.

    Attributes:
        root: the case that intervals allow.
        forwards: passes forward so far.
        backwards: passes backward so far.
    """

    def __init__(self, model: nn.Module, image: Tensor, label: Tensor, threat: ThreatModel) -> None:
        self.model, self.image, self.label, self.threat = model, image, label, threat
        self.forwards = self.backwards = 0
        with torch.no_grad():
            # In float64, which allows for rounding: what counts as decided here is not looked at again.
            self.root = self._bound(image.new_empty(1, 0), torch.float64, check=True)[1].known()[0]

    def answer(self, most: int) -> bool | None:
        """Return whether all cases are proven; None if this needs more than about so many."""
        queue, bounded = [self.root], 0
        while queue and bounded < most:
            some, queue = torch.stack(queue[-_AT_ONCE:]), queue[:-_AT_ONCE]
            bounded += len(some)
            margins, gains = self._gains(some)
            left = ~(margins > 0)
            with torch.no_grad():
                if not left.all():
                    left[~left] = ~(self._bound(some[~left], torch.float64)[0] > 0)
                if not left.any():
                    continue
                some, gains = some[left], gains[:, left]
                # The pixels as an attacker would choose them: if this is misclassified, nothing is proven.
                guess = torch.where(some.isnan(), (gains[0] < gains[1]).to(some.dtype), some)
                if (self._bound(guess, torch.float32)[0] <= 0).any() or not some.isnan().any(dim=1).all():
                    return False
            # A result is worth deciding if both of its values make the bounds tighter.
            worth = torch.where(some.isnan(), gains.clamp(min=1e-9).prod(dim=0), -1.0)
            place = worth.argmax(dim=1, keepdim=True)
            for value in (0.0, 1.0):
                queue += some.scatter(1, place, value).unbind()
        return None if queue else True

    def _gains(self, cases: Tensor) -> tuple[Tensor, Tensor]:
        """Return bounds (N,) of cases (N, S), and (2, N, S) what each gains from a result of 1 or of 0."""
        self.backwards += len(cases)
        with torch.enable_grad():
            margins, steps = self._bound(cases, torch.float32)
            ends = [end for result in steps.results for end in (result.lower, result.upper)]
            if not all(each.requires_grad for each in (margins, *ends)):  # the network turns gradients off
                return margins.detach(), torch.zeros((2, *cases.shape), device=cases.device)
            slopes = torch.autograd.grad(margins.sum(), ends, allow_unused=True, materialize_grads=True)
        below, above = (torch.cat([part.flatten(1) for part in slopes[first::2]], dim=1) for first in (0, 1))
        return margins.detach(), torch.stack([below, -above])

    def _bound(self, cases: Tensor, dtype: torch.dtype, *, check: bool = False) -> tuple[Tensor, "_Steps"]:
        """Return (N,) the smallest margins of cases (N, S); those in float64 are sound.

        With ``check`` the image's own logits must lie within their bounds.
        """
        n = len(cases)
        self.forwards += (3 if check else 2) * n
        steps = _Steps(cases)
        pixels = region(self.image.expand(n, *self.image.shape[1:]), self.threat, dtype)
        pixels.tape = steps
        own = self.image if check else None
        margins = margin_bounds(self.model, self.label.expand(n), pixels, own).amin(dim=1)
        return margins.masked_fill(steps.empty, torch.inf), steps


class _Steps(Tape):
    """Sets the results of step functions as cases (N, S) say, while a network runs on intervals.

    Attributes:
        results: of the step functions, in the order in which they occur.
        empty: (N,) whether the bounds contradict a case, as they may where steps follow on steps.
    """

    def __init__(self, cases: Tensor) -> None:
        super().__init__()
        self.results: list[Interval] = []
        self.empty = torch.zeros(len(cases), dtype=torch.bool, device=cases.device)
        self._left = cases

    def before(self, func: Any, args: Any, options: Any) -> None:
        """Do nothing: the bounds of arguments are used as they are."""

    def after(self, func: Any, args: Any, options: Any, result: Any) -> None:
        """Set the result of a step function, and hand this tape on."""
        for part in intervals(result):
            part.tape = self
        # With a third value at zero, two cases are not all.
        if func not in STEPS or not set(options.get("values", args[-1]).flatten().tolist()) <= {0.0, 1.0}:
            return
        if len(result.lower) != len(self._left):
            raise NoRuleError(f"{func.__name__} moves the images out of the first dimension")
        lower, upper = result.lower, result.upper
        if self._left.shape[1]:
            size = lower[0].numel()
            case, self._left = self._left[:, :size].reshape(lower.shape), self._left[:, size:]
            open_ones = case.isnan()
            self.empty |= ((case < lower) | (case > upper)).flatten(1).any(dim=1)
            lower, upper = (torch.where(open_ones, end, case.to(end.dtype)) for end in (lower, upper))
        if torch.is_grad_enabled():
            lower, upper = (end.detach().requires_grad_() for end in (lower, upper))
        result.lower, result.upper, result.ball = lower, upper, None
        self.results.append(result)

    def known(self) -> Tensor:
        """Return the case (N, S) in which only those results are decided that intervals decide."""
        lower, upper = (
            torch.cat([self._left, *(getattr(each, end).flatten(1) for each in self.results)], dim=1)
            for end in ("lower", "upper")
        )
        return torch.where(lower == upper, lower, torch.nan)
