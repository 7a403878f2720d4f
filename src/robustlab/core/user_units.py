"""Units of a user's own file or module: ``my.py:MyAttack(steps=5)``, ``package.module:MyAttack``.

Building such a unit runs the file. So only a text of the user's own command line, call or recipe is read with
this module. A text that was read from a model file or a run is read with `spec.parse`, which runs no file.
"""

import ast
import inspect
import re
from collections.abc import Callable, Iterator
from typing import TypeVar

from robustlab.core import user_code
from robustlab.core.errors import SpecError
from robustlab.core.installed import is_robustlabs
from robustlab.core.spec import FromFile, Unit, build, known_again, parse, syntax, units
from robustlab.core.text import a_kind, shown

UnitT = TypeVar("UnitT", bound=Unit)

_NAME = r"[^\W\d]\w*"
_REFERENCE = re.compile(
    rf"(?P<reference>.+?\.py:{_NAME}|{_NAME}(\.{_NAME})*:{_NAME}|[^()]+\.py)\s*(?P<arguments>\(.*\))?",
    re.DOTALL,
)
_LONGEST = 10_000
_QUOTED = re.compile(r"""'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*\"""")
_OPEN, _CLOSED, _QUOTES = "([{", ")]}", "'\""


def is_user_unit(text: str) -> bool:
    """Return whether a text means a class of a user's file or module, with arguments or without.

    A spec does not, even if an argument of it does: ``pgd(gradient=my.py:MyGradient)``.
    """
    if len(text) > _LONGEST or not _REFERENCE.fullmatch(text.strip()):
        return False
    plain = _QUOTED.sub("", text)
    if plain.count("(") > plain.count(")"):  # a spec without its last bracket
        return False
    return not isinstance(syntax(text), ast.Call)


def parse_trusted(kind: type[UnitT], text: str, note: Callable[[str], None] = lambda _: None) -> UnitT:
    """Build a unit from a spec of the user's own; it, and each unit in it, may be a class of a user's file.

    Args:
        kind: the kind's base class, e.g. ``Attack``.
        text: as for `spec.parse`, or as for `user_unit`; ``pgd(gradient=my.py:MyGradient(steps=3))``. It must
            come from the user's command line, call or recipe, since the file is run.
        note: called with a message if the import takes long.

    Raises:
        SpecError: as for `spec.parse` and `user_unit`.
        SetupError: the file or the class does not exist, or the file can't be imported.
    """
    return parse(kind, text, _importing(note))


def _importing(note: Callable[[str], None]) -> FromFile:
    def from_file(kind: type[Unit], text: str) -> Unit | None:
        return user_unit(text, kind, note=note) if is_user_unit(text) else None

    return from_file


def user_unit(text: str, *kinds: type[UnitT], note: Callable[[str], None] = lambda _: None) -> UnitT:
    """Build a unit of a class in a user's file or module.

    Args:
        text: ``FILE.py:CLASS`` or ``package.module:CLASS``, with keyword arguments in brackets or without;
            they may name such classes, too. An object of such a class is returned unchanged.
        kinds: the base classes of the kinds that it may be of.
        note: called with a message if the import takes long.

    Raises:
        SetupError: the file or the class does not exist, or the file can't be imported.
        SpecError: it is not a registered unit of these kinds, or an argument does not fit.
    """
    match = _REFERENCE.fullmatch(text.strip())
    if match is None:
        raise SpecError(f"can't parse {shown(text)}; expected FILE.py:CLASS or package.module:CLASS")
    reference, arguments = match["reference"], match["arguments"]
    own = {unit for kind in kinds for unit in units(kind).values() if is_robustlabs(unit)}
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
    built = build(unit, f"{unit.name}{arguments or '()'}", _importing(note))
    known_again(unit)  # another file, such as that of an argument, may have a class of this name
    return built


def split_list(text: str) -> Iterator[str]:
    """Yield the parts of a list that commas separate, those in brackets and quotes excepted.

    Quotes are read as Python reads them: a backslash inside takes its meaning from the next sign.
    """
    part, depth, quote, escaped = "", 0, "", False
    for sign in text:
        if escaped:
            escaped = False
        elif quote:
            escaped = sign == "\\"
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
