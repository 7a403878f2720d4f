"""Units of a user's own file or module: ``my.py:MyAttack(steps=5)``, ``package.module:MyAttack``."""

import inspect
import re
from collections.abc import Callable, Iterator
from typing import TypeVar

from robustlab.core import user_code
from robustlab.core.errors import SpecError
from robustlab.core.spec import Unit, build, known_again, units
from robustlab.core.text import a_kind, shown

UnitT = TypeVar("UnitT", bound=Unit)

_NAME = r"[^\W\d]\w*"
_REFERENCE = re.compile(
    rf"(?P<reference>.+?\.py:{_NAME}|{_NAME}(\.{_NAME})*:{_NAME}|[^()]+\.py)\s*(?P<arguments>\(.*\))?",
    re.DOTALL,
)
_LONGEST = 10_000
_OPEN, _CLOSED, _QUOTES = "([{", ")]}", "'\""


def is_user_unit(text: str) -> bool:
    """Return whether a text means a class of a user's file or module, with arguments or without."""
    return len(text) <= _LONGEST and bool(_REFERENCE.fullmatch(text.strip()))


def user_unit(text: str, *kinds: type[UnitT], note: Callable[[str], None] = lambda _: None) -> UnitT:
    """Build a unit of a class in a user's file or module.

    Args:
        text: ``FILE.py:CLASS`` or ``package.module:CLASS``, with keyword arguments in brackets or without. An
            object of such a class is returned unchanged.
        kinds: the base classes of the kinds that it may be of.
        note: called with a message if the import takes long.

    Raises:
        SetupError: there is no such file or class, or the file can't be imported.
        SpecError: it is not a registered unit of these kinds, or an argument does not fit.
    """
    match = _REFERENCE.fullmatch(text.strip())
    if match is None:
        raise SpecError(f"can't parse {shown(text)}; expected FILE.py:CLASS or package.module:CLASS")
    reference, arguments = match["reference"], match["arguments"]
    own = {
        unit for kind in kinds for unit in units(kind).values() if unit.__module__.startswith("robustlab.")
    }
    unit = user_code.find(reference, note)
    for one in own:  # they keep their names, also where the file registers the same
        known_again(one)
    if isinstance(unit, kinds) and arguments is None:
        return unit
    if not inspect.isclass(unit) or not issubclass(unit, kinds):
        bases = " or ".join(kind.__name__ for kind in kinds)
        what = f"the class {unit.__name__}" if inspect.isclass(unit) else a_kind(unit)
        raise SpecError(f"{reference} must be a class derived from {bases}, found {what}")
    # A subclass of a unit has its name, but is not a unit until it is registered itself.
    if not {"name", "__dataclass_fields__"} <= vars(unit).keys():
        raise SpecError(f'{reference} is not registered: write @register("a_name") above the class')
    if unit not in own and unit.name in {one.name for one in own}:
        raise SpecError(
            f"{reference} is registered as {unit.name!r}, as one of robustlab's own is; give it another name"
        )
    known_again(unit)  # another file may have a class of this name
    return build(unit, f"{unit.name}{arguments or '()'}")


def split_list(text: str) -> Iterator[str]:
    """Yield the parts of a list that commas separate, those in brackets and quotes excepted."""
    part, depth, quote = "", 0, ""
    for sign in text:
        if quote:
            quote = "" if sign == quote else quote
        elif sign in _QUOTES:
            quote = sign
        depth += (sign in _OPEN) - (sign in _CLOSED) if not quote else 0
        if sign == "," and depth <= 0 and not quote:
            yield part
            part = ""
        else:
            part += sign
    if part.strip():
        yield part
