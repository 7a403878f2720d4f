"""Lists of eps in the text of a threat model: ``linf(eps=[2/255, 4/255])``."""

import ast

from robustlab.core.errors import SpecError
from robustlab.core.spec import syntax_and_text
from robustlab.core.text import shown


def has_eps_list(text: str) -> bool:
    """Return whether a spec has a list as an eps."""
    return bool(_lists(text)[0])


def one_for_each_eps(text: str) -> list[str]:
    """Return a spec for each eps of the list in a spec; without a list the spec itself.

    Raises:
        SpecError: the list is empty, or there are two.
    """
    lists, plain, file = _lists(text)
    if not lists:
        return [text]
    if len(lists) > 1 or not lists[0].elts:
        wrong = "two lists of eps" if len(lists) > 1 else "an empty list of eps"
        raise SpecError(f"{shown(text)} has {wrong}; expected for example linf(eps=[2/255, 4/255])")
    written = str(ast.get_source_segment(plain, lists[0]))
    parts = [str(ast.get_source_segment(plain, element)) for element in lists[0].elts]
    return [file + plain.replace(written, part, 1) for part in parts]


def _lists(text: str) -> tuple[list[ast.List | ast.Tuple], str, str]:
    """Return the lists that are given as an eps, the text to which their positions refer, and what is before.

    Of ``my.py:Mine(eps=[0.1, 0.2])`` the file is before.
    """
    (node, plain), start = syntax_and_text(text), 0
    if node is None:
        start = text.find(":", 0, text.find("(")) + 1
        node, plain = syntax_and_text(text[start:])
    calls = [part for part in ast.walk(node) if isinstance(part, ast.Call)] if node else []
    values = [argument.value for call in calls for argument in call.keywords if argument.arg == "eps"]
    lists = [value for value in values if isinstance(value, ast.List | ast.Tuple)]
    return lists, plain, text[:start]
