"""Reads the criterion that a user gives."""

import re

from robustlab.attacks.criteria.base import Criterion
from robustlab.attacks.criteria.targeted import Targeted
from robustlab.core.errors import SpecError
from robustlab.core.spec import called, units
from robustlab.core.text import shown
from robustlab.core.user_units import is_user_unit, parse_trusted

_SHORT = re.compile(r"next|least[-_]likely|\+[0-9]+")


def as_criterion(choice: Criterion | str | int) -> Criterion:
    """Return the criterion that a user gives.

    Args:
        choice: a criterion or its spec, such as ``misclassified`` or ``targeted(classes=3)``; a class in a
            user's file, ``my.py:MyCriterion(margin=0.1)``; or, for short, the classes of `Targeted`: ``3``,
            ``next``, ``least-likely``, ``+2``.

    Raises:
        SpecError, SetupError: it is none of these, or the spec has a mistake.
    """
    if isinstance(choice, Criterion):
        return choice
    if isinstance(choice, int) and not isinstance(choice, bool):
        return Targeted(classes=choice)
    text = choice.strip() if isinstance(choice, str) else ""
    if text.isascii() and text.isdigit() and len(text) < 10:
        return Targeted(classes=int(text))
    if _SHORT.fullmatch(text):
        return Targeted(classes=text)
    if called(text) or text in units(Criterion) or is_user_unit(text) or text[:1] in {"'", '"'}:
        return parse_trusted(Criterion, text)
    accepted = f"a class (0, 1, ...), next, least-likely, +2, or a criterion: {', '.join(units(Criterion))}"
    raise SpecError(f"can't read the goal {shown(choice)}; expected {accepted}")
