"""What Python made of a user's code, and what such code names."""

import dis
import functools
import inspect
from types import CodeType
from typing import Any

from robustlab.evaluation.identity.tensors import digest


@functools.cache
def compiled(code: CodeType) -> str:
    """Return what Python made of a function: no comments, no line numbers."""
    inner = [compiled(item) if isinstance(item, CodeType) else _constant(item) for item in code.co_consts]
    return digest(f"{code.co_code.hex()} {code.co_exceptiontable.hex()} {code.co_names} {inner}".encode())


def _constant(value: object) -> str:
    # The order of a set is another one in every process.
    return repr(sorted(map(repr, value))) if isinstance(value, frozenset) else repr(value)


def functions_of(member: Any) -> list[Any]:
    """Return the functions behind a member of a class: itself, or those of a property or a class method."""
    places = ("__func__", "fget", "fset", "func", "__wrapped__")
    found = [member, *(getattr(member, place, None) for place in places if not inspect.isclass(member))]
    return [item for item in found if inspect.isfunction(item)]


def names_in(code: CodeType) -> set[str]:
    """Return what code names, by texts such as getattr takes them too, the functions inside it included."""
    inner = [names_in(item) for item in code.co_consts if isinstance(item, CodeType)]
    return set(code.co_names).union((item for item in code.co_consts if isinstance(item, str)), *inner)


def variables_in(code: CodeType) -> set[str]:
    """Return which of `names_in` can be variables of the module that the code stands in."""
    names = names_in(code)
    if "globals" in names:
        return names
    codes = [code]
    for one in codes:
        codes += [item for item in one.co_consts if isinstance(item, CodeType)]
    loaded = (step for one in codes for step in dis.get_instructions(one))
    return {str(step.argval) for step in loaded if step.opname in {"LOAD_GLOBAL", "LOAD_NAME"}}
