"""Groups attacks by the norms that they support, and by whether they follow gradients."""

from collections.abc import Sequence
from dataclasses import fields
from typing import Any

from robustlab.core.spec import Unit

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


def properties(attack: type[Unit]) -> dict[str, Any]:
    """Return the norms and the access of an attack, as JSON values."""
    return {"norms": norms(attack), "access": access(attack)}


def grouped(attacks: Sequence[type[Unit]]) -> dict[str, dict[str, list[type[Unit]]]]:
    """Return the attacks by access, white box first, and within each access by norms, any norm first."""
    found: dict[str, dict[str, list[type[Unit]]]] = {}
    for kind, meaning in _MEANING.items():
        same = [attack for attack in attacks if access(attack) == kind]
        for attack in sorted(same, key=lambda attack: (norms(attack) != [_ANY], sorted(norms(attack)))):
            by_norm = found.setdefault(f"{kind}: {meaning}", {})
            by_norm.setdefault(", ".join(sorted(norms(attack))), []).append(attack)
    return found
