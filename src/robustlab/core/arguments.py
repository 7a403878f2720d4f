"""Checks the arguments of the public functions; each error is one line that names the argument."""

import functools
import inspect
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from types import UnionType
from typing import Any, ParamSpec, TypeVar

from robustlab.core.aliases import current
from robustlab.core.errors import SpecError, did_you_mean, offer
from robustlab.core.text import a_kind, shown

P = ParamSpec("P")
R = TypeVar("R")

_flags: ContextVar[Mapping[str, str] | None] = ContextVar("flags", default=None)

LARGEST_WHOLE = 2**63 - 1
"""The largest whole number that a tensor or a database holds."""

LARGEST_COUNT = 10**9
"""The largest whole number that an argument may have; no step, query or pixel count comes near it."""

LARGEST_FLOAT = 3.4028234663852886e38
"""The largest number that an argument may have: float32, in which all is computed, ends there."""

MAX_SAMPLES = 10**6
"""How often a random classifier may be evaluated at one point: each evaluation is a pass of all images."""

_OF_A_BLACK_BOX = ("answers", "budget", "classes", "tensors")

_LONGEST_NAME = 255
_LONGEST_PATH = 4096
"""In bytes, as in most file systems."""


def checked_names(function: Callable[P, R]) -> Callable[P, R]:
    """Let a function take old names of its keyword arguments, and refuse unknown ones with a `SpecError`."""
    known = [name for name in inspect.signature(function).parameters if name != "self"]

    @functools.wraps(function)
    def checked(*args: P.args, **kwargs: P.kwargs) -> R:
        given: Any = known_names(function.__name__, known, kwargs)
        return function(*args, **given)

    return checked


def known_names(function: str, known: Sequence[str], given: Mapping[str, Any]) -> dict[str, Any]:
    """Return a call's keyword arguments under their current names; an unknown one is a `SpecError`."""
    renamed = {current(name, known): value for name, value in given.items()}
    if "predict" in renamed and "predict" not in known and "model" in known:
        if "model" in renamed:
            raise SpecError(f"{function} takes model or predict, not both")
        renamed["model"] = renamed.pop("predict")
    for name in renamed.keys() - known:
        if name in _OF_A_BLACK_BOX and "model" in known:
            where = f"robustlab.models.BlackBox(predict, {name}=...)"
            raise SpecError(f"{function} has no argument {shown(name)}; it belongs to a black box: {where}")
        hint = did_you_mean(name, known)
        raise SpecError(f"{function} has no argument {shown(name)}{hint}; {offer(known)}")
    return renamed


@contextmanager
def typed_as(flags: Mapping[str, str]) -> Iterator[None]:
    """Let errors in the block name an option by its flag; ``flags`` has the flag of each option's name."""
    before = _flags.set(flags)
    try:
        yield
    finally:
        _flags.reset(before)


def as_typed(name: str) -> str:
    """Return an option's name as the caller writes it: ``min_robust``, or in a shell ``--min-robust``."""
    return (_flags.get() or {}).get(name, name)


def check_kind(name: str, value: object, kind: type | UnionType | tuple[type, ...], accepted: str) -> None:
    """Refuse a value of another type with a `SpecError`; ``accepted``: the accepted types as text."""
    if not isinstance(value, kind):
        raise SpecError(f"{as_typed(name)} must be {accepted}; found {a_kind(value)}")


def check_text(name: str, value: str) -> None:
    """Refuse, with a `SpecError`, a text that can be neither a path nor a spec.

    It is empty, has a NUL or half of a surrogate pair, or is too long for a path, unless it is a spec such as
    ``pgd(steps=40)``.
    """
    if not value:
        raise SpecError(f"{as_typed(name)} must not be empty")
    try:
        parts = [len(part) for part in value.encode().split(b"/")]
    except UnicodeEncodeError:
        raise SpecError(f"{as_typed(name)} must be text in UTF-8, found {shown(value)}") from None
    if "\0" in value:
        raise SpecError(f"{as_typed(name)} must not hold a NUL character, found {shown(value)}")
    if max(parts) > _LONGEST_NAME or sum(parts) + len(parts) > _LONGEST_PATH:
        from robustlab.core.spec import called  # loads pydantic

        if called(value):
            return
        limits = f"at most {_LONGEST_NAME} bytes between slashes and {_LONGEST_PATH} in all"
        raise SpecError(f"{as_typed(name)} is too long, {limits}; found {shown(value)}")


def as_path(name: str, value: object) -> Path:
    """Return a path that was given as a text or a path; anything else is a `SpecError`."""
    check_kind(name, value, str | os.PathLike, "a text or a path")
    text = os.fspath(value)  # type: ignore[call-overload]  # it was checked
    check_kind(name, text, str, "a text or a path")
    check_text(name, text)
    return Path(text)


def check_whole(name: str, value: object, least: int, most: int = LARGEST_WHOLE) -> None:
    """Refuse a value that is not a whole number from ``least`` to ``most``, or a bool, with a `SpecError`."""
    if not isinstance(value, int) or isinstance(value, bool) or value < least:
        raise SpecError(f"{as_typed(name)} must be a whole number, at least {least}; found {shown(value)}")
    if value > most:
        limit = "below 2^63" if most == LARGEST_WHOLE else f"at most {most:,}"
        raise SpecError(f"{as_typed(name)} must be {limit}; found {shown(value)}")


def check_share(name: str, value: object) -> None:
    """Refuse a value that is not a number in [0, 1] with a `SpecError`."""
    if not isinstance(value, int | float) or isinstance(value, bool) or not 0 <= value <= 1:
        raise SpecError(
            f"{as_typed(name)} must be a share in [0, 1], such as 0.9 for 90 %; found {shown(value)}"
        )


def check_choice(name: str, value: object, choices: Sequence[str]) -> None:
    """Refuse a value that is not one of the choices with a `SpecError`."""
    if not isinstance(value, str) or value not in choices:
        hint = did_you_mean(value, choices) if isinstance(value, str) else ""
        raise SpecError(f"{as_typed(name)} must be one of {', '.join(choices)}; found {shown(value)}{hint}")
