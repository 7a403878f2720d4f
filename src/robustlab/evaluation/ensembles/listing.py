"""Reads a user's list of attacks: specs of attacks and ensembles, in any combination."""

import ast
from collections.abc import Callable, Iterator, Sequence
from dataclasses import MISSING, fields, replace
from typing import Any

from robustlab.attacks import Attack
from robustlab.core.aliases import current, ours
from robustlab.core.arguments import as_typed
from robustlab.core.errors import SpecError, did_you_mean, offer
from robustlab.core.options import Effort
from robustlab.core.spec import syntax, units, without_quotes
from robustlab.core.text import a_kind, shown
from robustlab.core.user_units import is_user_unit, parse_trusted, split_list, user_unit
from robustlab.evaluation.ensembles.base import Ensemble
from robustlab.evaluation.ensembles.standard import Standard
from robustlab.runs.subject import BlackBoxAnswers
from robustlab.threats import ThreatModel

Attacks = str | Attack | Ensemble | Sequence[str | Attack | Ensemble]
"""Specs, several in one string, separated by commas, or the units themselves."""

_EFFORT_AROUND, _UNKNOWN_EFFORT = 4.0, 300.0

_LONGEST_LIST = 10_000

_EXPECTED = "expected for example standard, or pgd(steps=40), fgsm"


def attack_list(
    asked: Attacks, note: Callable[[str], None] = lambda _: None
) -> tuple[Attack | Ensemble, ...]:
    """Return the requested units, in order.

    Args:
        asked: specs, several in one text, separated by commas, units, or classes of a user's file or module:
            ``my.py:MyAttack(steps=5)``, ``pgd(gradient=my.py:MyGradient)``. The files are run, so the texts
            must come from the user.
        note: called with a message if the import takes long.

    Raises:
        SpecError, SetupError: a text is not a list of specs, a name does not exist, or the list is empty.
    """
    if isinstance(asked, str | Attack | Ensemble) or not isinstance(asked, Sequence):
        asked = [asked]
    attacks: list[Attack | Ensemble] = []
    for item in asked:
        if isinstance(item, str):
            attacks += _parsed(item, note)
        elif isinstance(item, Attack | Ensemble):
            attacks.append(item)
        else:
            raise SpecError(
                f"{as_typed('attacks')} must be specs, attacks or ensembles, found {a_kind(item)}"
            )
    if not attacks:
        raise SpecError(f"{as_typed('attacks')} names no attack; {_EXPECTED}")
    return tuple(attacks)


def with_effort(asked: tuple[Attack | Ensemble, ...], effort: Effort | None) -> tuple[Attack | Ensemble, ...]:
    """Return the requested units, with another effort of those that have one.

    Raises:
        SpecError: none has one.
    """
    if effort is None:
        return asked
    if not any(isinstance(unit, Standard) for unit in asked):
        names = ", ".join(unit.name for unit in asked)
        raise SpecError(
            f"{as_typed('effort')} is for the attack list standard, but {as_typed('attacks')} is {names}"
        )
    return tuple(replace(unit, effort=effort) if isinstance(unit, Standard) else unit for unit in asked)


def attack_effort(attack: Attack | Ensemble) -> float:
    """Return the approximate cost of an image in passes, to estimate the time left."""
    if isinstance(attack, Ensemble) or attack.passes is None:
        return _UNKNOWN_EFFORT
    return _EFFORT_AROUND + attack.passes * attack.restart_count * (attack.inner.estimator.passes or 1)


def _parsed(text: str, note: Callable[[str], None]) -> Iterator[Attack | Ensemble]:
    parts = [part.strip() for part in split_list(text)] if len(text) <= _LONGEST_LIST else [""]
    if not all(syntax(part) is not None or is_user_unit(part) for part in parts):
        raise SpecError(f"can't parse attacks {shown(text)}; {_EXPECTED}")
    for part in parts:
        yield _one(part, note)


def _one(text: str, note: Callable[[str], None]) -> Attack | Ensemble:
    if is_user_unit(text):
        kinds: tuple[Any, ...] = (Attack, Ensemble)
        unit: Attack | Ensemble = user_unit(text, *kinds, note=note)
        return unit
    tree = syntax(text)
    if (quoted := without_quotes(tree, text)) is not None:
        return _one(quoted, note)
    name = tree.func if isinstance(tree, ast.Call) else tree
    accepted = [*units(Ensemble), *units(Attack)]
    if not isinstance(name, ast.Name):
        hint = did_you_mean(text, accepted) if ours(text) else ""  # such as PGD-20
        raise SpecError(f"can't parse attack {shown(text)}{hint}; {_EXPECTED}")
    if name.id in units(Ensemble):
        return parse_trusted(Ensemble, text, note)
    if current(name.id, units(Attack)) in units(Attack):
        return parse_trusted(Attack, text, note)
    hint = did_you_mean(name.id, accepted)
    raise SpecError(f"unknown attack or ensemble {shown(name.id)}{hint}; {offer(accepted, 'attacks')}")


def gradient_free(threat: ThreatModel) -> list[str]:
    """Return the names of the registered attacks within a threat model that need no gradient."""
    attacks = []
    for name, kind in units(Attack).items():
        if not any(field.default is MISSING for field in fields(kind)):  # type: ignore[arg-type]
            attack = kind()
            if attack.supports(threat) and not attack.needs_gradient:
                attacks.append(name)
    return attacks


def resolved(
    asked: tuple[Attack | Ensemble, ...],
    threat: ThreatModel,
    classes: int,
    *,
    targeted: bool = False,
    black_box: BlackBoxAnswers = "",
) -> tuple[Attack, ...]:
    """Return the attacks that will run, in order; duplicates run once.

    Args:
        asked: in the order in which they attack an image.
        threat, classes: for `Ensemble.stages`.
        targeted: whether the attacker has a target class; members of ensembles without support for it are
            left out.
        black_box: what the classifier returns, if it has no gradient: ``"scores"`` or ``"labels"``.

    Raises:
        SpecError: an attack does not support the threat model, or an ensemble has none that does; or it needs
            a gradient, and the classifier has none.
    """
    attacks: list[Attack] = []
    for unit in asked:
        members = _members(unit, threat, classes, black_box) if isinstance(unit, Ensemble) else (unit,)
        if targeted and isinstance(unit, Ensemble):
            members = tuple(attack for attack in members if attack.inner.targetable)
        if not members:
            without = " without gradients" if black_box else ""
            raise SpecError(f"{unit!r} has no attack{without} for {threat!r}")
        for attack in members:
            if not attack.supports(threat):
                raise SpecError(
                    f"{attack.inner.name} supports {attack.inner.supported_norms}, not {threat!r}"
                )
            if black_box and attack.needs_gradient:
                estimated = (
                    f"; or {attack.inner.name}(gradient=spsa)" if hasattr(attack.inner, "gradient") else ""
                )
                raise SpecError(
                    f"{attack.inner.name} needs a gradient, and the classifier is a black box; attacks that "
                    f"need none: {', '.join(gradient_free(threat))}{estimated}"
                )
            if targeted and not attack.inner.targetable:
                raise SpecError(f"{attack.inner.name} can't move towards a target class")
        attacks += members
    return tuple(dict.fromkeys(attacks))


def _members(
    unit: Ensemble, threat: ThreatModel, classes: int, black_box: BlackBoxAnswers
) -> tuple[Attack, ...]:
    if black_box:
        return unit.black_box_stages(threat, classes, only_labels=black_box == "labels")
    return unit.stages(threat, classes)
