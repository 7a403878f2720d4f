"""Groups attacks by the norms that they support, and by whether they follow gradients."""

from collections.abc import Sequence
from dataclasses import fields
from typing import Any

_WHITE, _BLACK, _INNER = "white box", "black box", "as its attack"
_ANY = "any norm"

_MEANING = {
    _WHITE: "they follow gradients of the classifier",
    _BLACK: "they need no gradient",
    _INNER: "they run another attack, and need what that one needs",
}


def access(attack: Any) -> str:
    """Return ``"white box"``, ``"black box"``, or ``"as its attack"`` for an attack that wraps another one.

    This is for the default arguments: with ``gradient=spsa`` most attacks need no gradient.
    """
    blank = object.__new__(attack)  # arguments with a default are attributes of the class
    try:
        follows = bool(blank.needs_gradient)
    except Exception:  # it depends on a required argument
        return _INNER
    # An attack that can work without gradients, but takes an estimator, uses gradients.
    return _WHITE if follows or "gradient" in {field.name for field in fields(attack)} else _BLACK


def norms(attack: Any) -> list[str]:
    """Return the threat models that an attack supports, or ``["any norm"]``, or ``["as its attack"]``."""
    return [_INNER] if access(attack) == _INNER else list(attack.norms) or [_ANY]


def properties(attack: Any) -> dict[str, Any]:
    """Return the norms and the access of an attack, as JSON holds them."""
    return {"norms": norms(attack), "access": access(attack)}


def grouped(attacks: Sequence[dict[str, Any]]) -> dict[str, dict[str, list[dict[str, Any]]]]:
    """Return attacks by access, white box first, and below it by norms, those for any norm first.

    Args:
        attacks: `describe.listed` of each.
    """
    groups: dict[str, dict[str, list[dict[str, Any]]]] = {}
    for kind, meaning in _MEANING.items():
        same = [attack for attack in attacks if attack["properties"]["access"] == kind]
        for attack in sorted(same, key=_any_norm_first):
            by_norm = groups.setdefault(f"{kind}: {meaning}", {})
            by_norm.setdefault(", ".join(sorted(attack["properties"]["norms"])), []).append(attack)
    return groups


def _any_norm_first(attack: dict[str, Any]) -> tuple[bool, list[str]]:
    supported = attack["properties"]["norms"]
    return supported != [_ANY], sorted(supported)
