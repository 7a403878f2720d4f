"""What `ls` says of a unit: what it does, where it comes from, and what its arguments mean."""

import ast
import dataclasses
import inspect
import itertools
import textwrap
from typing import Any, Literal, get_args, get_origin, get_type_hints

from robustlab.cli import catalogue
from robustlab.cli.attack_groups import properties
from robustlab.cli.texts import plain_paragraphs
from robustlab.core.spec import Unit

_USUAL = {
    "attack": "The attack that is run.",
    "count": "Points for each image.",
    "dropout": "The share of values that are dropped in training.",
    "eps": "The largest distance, on the pixel scale; for l0 a number of pixels.",
    "hidden": "Width of the hidden layers.",
    "latent": "Length of the code.",
    "loss": "What the search raises.",
    "network": "The name of a trained network.",
    "queries": "Forward passes per restart.",
    "restarts": "Searches with other random numbers, each on the images that withstood those before.",
    "rounds": "Rounds of the search.",
    "start": "Where the search begins.",
    "std": "Standard deviation of the noise, on the pixel scale.",
    "steps": "Steps of the search, per restart.",
    "threat": "What the attacker may do.",
    "times": "Runs in all.",
}
"""The meaning of arguments that have no docstring, since they mean the same in every unit."""

_BOUNDS = {"ge": "at least", "gt": "above", "le": "at most", "lt": "below"}


def known_as(unit: Any) -> str:
    """Return the name of a unit on the command line: of a check its id."""
    return str(unit.id if unit.kind == "check" else unit.name)


def listed(unit: type[Unit]) -> dict[str, Any]:
    """Return what the list of units says of one: its signature, and the first line of its docstring.

    The summary of a check is what a failure means.
    """
    return {
        "name": known_as(unit),
        "kind": unit.kind,
        "usage": f"{known_as(unit)}{_arguments(unit)}",
        "summary": unit.summary().replace("``", ""),
        "properties": properties(unit) if unit.kind == "attack" else {},
    }


def described(unit: type[Unit]) -> dict[str, Any]:
    """Return the description of a unit, from its docstrings."""
    meanings, hints = _meanings(unit), get_type_hints(unit, include_extras=True)
    arguments = [
        {
            "name": field.name,
            "accepted": _accepted(hints[field.name]),
            "meaning": meanings.get(field.name) or _USUAL.get(field.name, ""),
        }
        | ({} if field.default is dataclasses.MISSING else {"default": _plain_value(field.default)})
        for field in dataclasses.fields(unit)  # type: ignore[arg-type]
    ]
    own = catalogue.source(unit)
    source = ast.get_docstring(own[0]) if own else inspect.getdoc(inspect.getmodule(unit))
    return {
        "name": known_as(unit),
        "kind": unit.kind,
        **(properties(unit) if unit.kind == "attack" else {}),
        "text": plain_paragraphs("\n\n".join([inspect.getdoc(unit) or "", *_of_check(unit)])),
        "source": plain_paragraphs(source or ""),
        "arguments": arguments,
    }


def _of_check(unit: Any) -> list[str]:
    """Return a check's texts: its claim, what passes, and the meaning of a failure."""
    if unit.kind != "check":
        return []
    passes = f"Passes: {unit.expected}{'' if unit.expected.endswith('.') else '.'}"
    return [f"{unit.title}. {passes}", f"If not: {unit.meaning}"]


def _meanings(unit: type[Unit]) -> dict[str, str]:
    """Return the text below each argument in the source, including the base classes'."""
    meanings: dict[str, str] = {}
    for kind in reversed(unit.__mro__):
        if not issubclass(kind, Unit) or kind is Unit:
            continue
        for member, below in itertools.pairwise(getattr(_definition(kind), "body", [])):
            match member, below:
                case ast.AnnAssign(target=ast.Name(id=name)), ast.Expr(value=ast.Constant(value=str(text))):
                    meanings[name] = plain_paragraphs(text)
    return meanings


def _definition(kind: type[Unit]) -> ast.stmt | None:
    if own := catalogue.source(kind):
        return own[1]
    try:
        return ast.parse(textwrap.dedent(inspect.getsource(kind))).body[0]
    except (OSError, TypeError):  # a unit without a file, such as one defined in a console
        return None


def _accepted(hint: object) -> str:
    """Return the words or the range that an argument accepts; empty if it accepts any value."""
    parts = (hint, *get_args(hint))
    words = [str(word) for part in parts if get_origin(part) is Literal for word in get_args(part)]
    limits = [
        f"{_BOUNDS[name]} {getattr(limit, name):g}"
        for part in parts
        for field in getattr(part, "__metadata__", ())
        for limit in getattr(field, "metadata", ())
        for name in _BOUNDS
        if hasattr(limit, name)
    ]
    return ", ".join(words or limits)


def _plain_value(value: object) -> object:
    """Return a default as a JSON value."""
    return repr(value) if isinstance(value, Unit) else value


def _arguments(unit: type[Unit]) -> str:
    parameters = inspect.signature(unit).parameters.values()
    words = [p.name if p.default is p.empty else f"{p.name}={_short(p.default)}" for p in parameters]
    return f"({', '.join(words)})" if words else ""


def _short(value: object) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)
