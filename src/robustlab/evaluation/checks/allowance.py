"""How many images each check gets if the images are large: the checks then cost no more than the attacks."""

from collections.abc import Iterable
from dataclasses import replace
from typing import NamedTuple

from robustlab.evaluation.checks.base import ActiveCheck, Check
from robustlab.evaluation.checks.context import Context

LARGE = 3 * 64 * 64
"""If an image has at most so many values, a pass costs little, and checks get all the images they ask for."""
LEAST_PASSES = 500
"""What all checks together may cost even if the attacks cost less; our choice."""


class _Cost(NamedTuple):
    """The passes of a check for each image, its images, and the fewest that are of use to it."""

    passes: int
    images: int
    fewest: int

    @property
    def least(self) -> int:
        """The passes for the fewest images."""
        return self.passes * self.fewest


def allowed(checks: Iterable[Check], context: Context, attacks: int) -> dict[Check, Context]:
    """Return the context of each check, with a limit on its images or the reason why it does not run.

    Args:
        context: the context without limits.
        attacks: the passes, forward and backward, of the attacks and proofs.
    """
    contexts = dict.fromkeys(checks, context)
    if context.images.images.shape[1:].numel() <= LARGE:
        return contexts
    costs = {check: cost for check in contexts if (cost := _cost(check, context)) is not None}
    budget = max(attacks, LEAST_PASSES)
    numbers = _shared(costs, budget)
    for check, cost in costs.items():
        if number := numbers.get(check, 0):
            contexts[check] = replace(context, at_most=number)
        else:
            reason = (
                f"not run: it needs at least {cost.least:,} passes, and on such large images the "
                f"checks share {budget:,}, as many as attacks and proofs took (at least {LEAST_PASSES})"
            )
            contexts[check] = replace(context, not_run=reason)
    return contexts


def _cost(check: Check, context: Context) -> _Cost | None:
    """Return the cost of a check without a limit; None if it costs nothing, or says nothing of its cost."""
    if not isinstance(check, ActiveCheck) or not check.passes:
        return None
    try:
        sample = check.applicable(context)
    except Exception:  # it is skipped, or crashes, when it runs
        return None
    each = check.passes * context.runner.eot_samples * max(1, len(sample.surrogates))
    return _Cost(each, len(sample.images), min(check.fewest, len(sample.images)))


def _shared(costs: dict[Check, _Cost], budget: int) -> dict[Check, int]:
    """Return the number of images of each check that runs; what is left over goes to those that want more."""
    numbers: dict[Check, int] = {}
    # A wrong form of the images or a random classifier matters for any figure, even one of 0 %.
    first = sorted(costs.items(), key=lambda item: (item[0].doubts == "attacks", item[1].least))
    for check, cost in first:
        if cost.least <= budget:
            numbers[check] = cost.fewest
            budget -= cost.least
    wanting = sorted(numbers, key=lambda check: costs[check].passes * costs[check].images)
    for place, check in enumerate(wanting):
        share = budget // (len(wanting) - place) // costs[check].passes
        more = min(share, costs[check].images - numbers[check])
        numbers[check] += more
        budget -= more * costs[check].passes
    return numbers
