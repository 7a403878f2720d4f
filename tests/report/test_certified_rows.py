"""A row of a study shows the share of proven images where there are any."""

from typing import Any

import pytest

from robustlab.report.study.markdown import _certified
from robustlab.runs.records import Figure
from robustlab.runs.results import Row


@pytest.mark.parametrize(
    ("certified", "expected"),
    [
        (None, ""),
        (Figure(value=0.0, low=0.0, high=0.1, n=40), ""),
        (Figure(value=0.625, low=0.45, high=0.77, n=40), "; certified 62.5\xa0%"),
    ],
)
def test_the_certified_share_is_shown_if_it_says_something(certified: Figure | None, expected: str) -> None:
    fields: Any = {"certified": certified}
    row = Row.model_construct(**fields)
    assert _certified(row) == expected
