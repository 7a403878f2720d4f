"""Writes TOML, which Python's own library only reads."""

import json
from collections.abc import Mapping
from typing import Any


def to_toml(content: Mapping[str, Any]) -> str:
    """Return tables of texts, numbers, truth values, lists and tables as TOML; None is left out.

    Keys must be bare: letters, digits, ``_`` and ``-``. A list of tables must hold nothing else.
    """
    return "\n".join(_table(content, "")).strip() + "\n"


def _table(content: Mapping[str, Any], name: str) -> list[str]:
    lines, below = [], []
    for key, value in content.items():
        path = f"{name}.{key}".lstrip(".")
        if isinstance(value, Mapping):
            inner = _table(value, path)
            # A table of tables alone needs no head of its own.
            below += inner if inner[:1] == [""] else ["", f"[{path}]", *inner]
        elif isinstance(value, list | tuple) and value and isinstance(value[0], Mapping):
            for part in value:
                below += ["", f"[[{path}]]", *_table(part, path)]
        elif value is not None:
            lines.append(f"{key} = {_value(value)}")
    return lines + below


def _value(value: Any) -> str:
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(_value, value))}]"
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False)
    return str(value).lower() if isinstance(value, bool) else repr(value)
