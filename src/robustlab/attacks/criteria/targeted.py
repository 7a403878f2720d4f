"""A class of the attacker's choice."""

import re
from abc import ABC
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated

import torch
from pydantic import AfterValidator
from torch import Tensor

from robustlab.attacks.criteria.base import Criterion, Observation
from robustlab.attacks.losses import Loss, measure
from robustlab.core.spec import register

_ACCEPTED = "a class (0, 1, ...), next, least-likely, or +2, +3, ... for that many classes after the label"
_OFFSET = re.compile(r"\+0*([1-9][0-9]{0,8})")


def _canonical(classes: int | str) -> int | str:
    """Return the canonical spelling of a choice."""
    if isinstance(classes, int):
        if classes >= 0:
            return classes
    elif classes in {"least-likely", "least_likely"}:
        return "least-likely"
    elif classes in {"next", "+1"}:
        return "next"
    elif offset := _OFFSET.fullmatch(classes):
        return "next" if offset[1] == "1" else f"+{offset[1]}"
    raise ValueError(f"Input should be {_ACCEPTED}")


class Towards(Criterion, ABC):
    """A goal with a target class for each image.

    An invalid answer does not count as the target. An image whose label is the target is skipped, and its
    goal counts as not reached.
    """

    targeted = True
    changes_class = True

    def impossible(self, labels: Tensor, targets: Tensor | None) -> Tensor | None:
        return None if targets is None else labels == targets

    def reached(self, seen: Observation) -> Tensor:
        return seen.valid & (seen.logits.argmax(dim=1) == seen.targets) & (seen.labels != seen.targets)

    def loss(self, loss: Loss, seen: Observation, rivals: Tensor | None = None) -> Tensor:
        del rivals  # the attacker has chosen
        values = measure(loss, seen.logits, seen.labels, seen.targets)
        return torch.where(seen.valid, values, -torch.inf)


@register("targeted")
class Targeted(Towards):
    """A class of the attacker's choice: a fixed one, one for each label, or the least likely one.

    An image whose label is the target is skipped, and counts as not reached. This can't happen with ``next``.
    With ``least-likely`` it happens only if the clean image is misclassified.
    """

    classes: Annotated[int | str, AfterValidator(_canonical)]
    """A class by its number; ``next``, the class after the label; ``+k``, the k-th class after the label
    (both modulo the number of classes); or ``least-likely``, the class of the clean image's lowest logit in
    fp32."""

    def targets(self, labels: Tensor, clean_logits: Callable[[], Tensor]) -> Tensor:
        if isinstance(self.classes, int):
            return torch.full_like(labels, self.classes)
        logits = clean_logits()
        if self.classes == "least-likely":
            return logits.argmin(dim=1)
        return (labels + (1 if self.classes == "next" else int(self.classes))) % logits.shape[1]


@dataclass(frozen=True, kw_only=True, repr=False, eq=False)
class GivenTargets(Towards):
    """A given class for each image (n,), the argument ``targets`` of `Attack.run`; it has no spec."""

    name = "given"

    classes: Tensor

    def targets(self, labels: Tensor, clean_logits: Callable[[], Tensor]) -> Tensor:
        del labels, clean_logits
        return self.classes
