"""The goals of the attacker: the criteria for an evaluation's ``target``."""

from collections.abc import Sequence

from robustlab.attacks.criteria import MISCLASSIFIED, Criterion, Targeted, as_criterion
from robustlab.core.errors import SpecError
from robustlab.data import Split

ALL = "all"
"""Each class except the label, one after the other."""


def as_goal(target: str | int | Criterion | None) -> str | Criterion | None:
    """Return the criterion of a target; `ALL` and None are returned unchanged.

    Raises:
        SpecError: it is not a target.
    """
    return target if target is None or target == ALL else as_criterion(target)


def spelled_target(target: str | int | Criterion) -> str:
    """Return a target as text: the classes alone for `Targeted`, so that all ways to say it are one."""
    goal = as_goal(target)
    return str(goal.classes if isinstance(goal, Targeted) else goal)


def criteria_of(target: str | int | Criterion | None, classes: int) -> tuple[Criterion, ...]:
    """Return the criteria of a target; for ``all`` one for each difference of target and label.

    Raises:
        SpecError: it is not a target, or the classifier has no such class.
    """
    if target is None:
        return (MISCLASSIFIED,)
    if target == ALL:
        return tuple(Targeted(classes=f"+{offset}") for offset in range(1, classes))
    criterion = as_criterion(target)
    wanted = criterion.classes if isinstance(criterion, Targeted) else None
    if isinstance(wanted, int) and wanted >= classes:
        raise SpecError(f"target {wanted}: the model outputs {classes} logits, for 0 to {classes - 1}")
    return (criterion,)


def remarks_on(criteria: tuple[Criterion, ...], images: Split) -> tuple[str, ...]:
    """Return notes for the user on a target."""
    wanted = criteria[0].classes if len(criteria) == 1 and isinstance(criteria[0], Targeted) else None
    own = int((images.labels == wanted).sum()) if isinstance(wanted, int) else 0
    if not own:
        return ()
    return (
        f"{own} of {len(images)} images are of the target class {wanted}: they can't be moved towards it, "
        "and count as robust where they are classified correctly",
    )


def goal_of(criteria: tuple[Criterion, ...], names: Sequence[str] = ()) -> str:
    """Return the attacker's goal as text; empty: any class except the label. ``names``: of the classes."""
    if criteria == (MISCLASSIFIED,):
        return ""
    if len(criteria) > 1:
        return "each other class in turn"
    (criterion,) = criteria
    if not isinstance(criterion, Targeted):
        return repr(criterion)
    known = {"next": "the class after the label", "least-likely": "the least likely class"}
    if isinstance(criterion.classes, int):
        name = dict(enumerate(names)).get(criterion.classes, str(criterion.classes))
        return f"class {criterion.classes}" + (f", {name}" if name != str(criterion.classes) else "")
    return known.get(criterion.classes, f"the class {criterion.classes} after the label")
