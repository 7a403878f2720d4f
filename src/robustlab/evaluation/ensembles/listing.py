"""Reads what a user asks for as attacks: specs of attacks and ensembles, in any mixture."""

import ast
from collections.abc import Sequence

from robustlab.attacks import Attack
from robustlab.core.errors import SpecError, did_you_mean
from robustlab.core.spec import parse, units
from robustlab.core.threat import ThreatModel
from robustlab.evaluation.ensembles.base import Ensemble

Attacks = str | Attack | Ensemble | Sequence[str | Attack | Ensemble]
"""Specs, several in one string where commas separate them, or the units themselves."""


def attack_list(asked: Attacks) -> tuple[Attack | Ensemble, ...]:
    """Return the units that were asked for, in order.

    Raises:
        SpecError: a text is no list of specs, or names what does not exist; or nothing was asked for.
    """
    if isinstance(asked, str | Attack | Ensemble):
        asked = [asked]
    found: list[Attack | Ensemble] = []
    for item in asked:
        if isinstance(item, str):
            found += _parsed(item)
        elif isinstance(item, Attack | Ensemble):
            found.append(item)
        else:
            raise SpecError(f"attacks must be specs, attacks or ensembles, found a {type(item).__name__}")
    if not found:
        raise SpecError(f"no attack was named; for example: standard, or {', '.join(units(Attack))}")
    return tuple(found)


def _parsed(text: str) -> list[Attack | Ensemble]:
    try:
        tree = ast.parse(f"[{text}\n]", mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        tree = None
    if not isinstance(tree, ast.List):
        raise SpecError(f"attacks {text!r} are no specs; expected such as: standard, or: pgd(steps=40), fgsm")
    return [_one(node) for node in tree.elts]


def _one(node: ast.expr) -> Attack | Ensemble:
    text = ast.unparse(node)
    name = node.func if isinstance(node, ast.Call) else node
    if not isinstance(name, ast.Name):
        raise SpecError(f"attack {text!r} is no spec; expected name(argument=value, ...)")
    if name.id in units(Ensemble):
        return parse(Ensemble, text)
    if name.id in units(Attack):
        return parse(Attack, text)
    accepted = [*units(Ensemble), *units(Attack)]
    hint = did_you_mean(name.id, accepted)
    raise SpecError(f"unknown attack or ensemble {name.id!r}{hint}; accepted: {', '.join(accepted)}")


def resolved(asked: tuple[Attack | Ensemble, ...], threat: ThreatModel, classes: int) -> tuple[Attack, ...]:
    """Return the attacks that will run, in order; one that is named twice runs once.

    Raises:
        SpecError: an attack is not made for the threat model, or an ensemble has none that is.
    """
    attacks: list[Attack] = []
    for unit in asked:
        members = unit.stages(threat, classes) if isinstance(unit, Ensemble) else (unit,)
        if not members:
            raise SpecError(f"{unit!r} has no attack for {threat!r}")
        for attack in members:
            if not attack.suits(threat):
                name, made_for = attack.core.name, attack.core.made_for
                raise SpecError(f"{name} is made for {made_for}; the threat model is {threat!r}")
        attacks += members
    return tuple(dict.fromkeys(attacks))
