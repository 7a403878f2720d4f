"""Types of the fields of files: the allowed numbers and texts, both when written and when read."""

import re
from collections.abc import Callable
from typing import Annotated, TypeVar

from pydantic import AfterValidator, Field, ValidationError

from robustlab.core.text import shown

T = TypeVar("T")

_LARGEST = 2**63 - 1
"""The largest integer of SQLite and of 64-bit programs."""

_LONGEST = 100_000
"""Characters of a text; the rest is cut off."""

_UNPRINTABLE = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
"""Control characters, those that turn the direction of writing, and halves of surrogate pairs."""


def _clean(text: str) -> str:
    return _UNPRINTABLE.sub("\ufffd", text if len(text) <= _LONGEST else text[:_LONGEST] + "…")


Text = Annotated[str, AfterValidator(_clean)]
"""A text that a terminal and a page can show: control characters are replaced, and the length is bounded."""

Share = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]
"""A share, score or probability, in [0, 1]."""

Length = Annotated[float, Field(ge=0, le=1e12, allow_inf_nan=False)]
"""A distance or eps on the pixel scale, or seconds, or megabytes; not negative."""

Factor = Annotated[float, Field(gt=0.0, le=1e12, allow_inf_nan=False)]
"""A factor of a length, above 0."""

Number = Annotated[float, Field(ge=-1e30, le=1e30, allow_inf_nan=False)]
"""Any finite number that a chart can show."""

Integer = Annotated[int, Field(ge=-_LARGEST, le=_LARGEST)]
"""An image's id."""

Count = Annotated[int, Field(ge=0, le=_LARGEST)]
"""A number of things, a place in a list, or a class; not negative."""

Positive = Annotated[int, Field(ge=1, le=_LARGEST)]
"""A number of things, at least one."""

Answer = Annotated[int, Field(ge=-1, le=_LARGEST)]
"""A predicted class or a restart; -1: none."""

Some = Annotated[list[T], Field(max_length=10_000)]
"""A list that the report goes through."""


def refusal(error: ValidationError, named: Callable[[str], str] = str) -> str:
    """Return which field was refused first, its expected value, and its actual value.

    ``named`` returns a field's name for the reader.
    """
    first = error.errors(include_url=False)[0]
    place = ".".join(named(str(part)) for part in first["loc"])
    message = first["msg"].removeprefix("Value error, ").removeprefix("Input ")
    given = "" if first["type"] in {"missing", "value_error"} else f", found {shown(first['input'])}"
    return f"{place}: {message[:1].lower()}{message[1:]}{given}".removeprefix(": ")
