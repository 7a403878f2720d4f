"""TOML that is written is read back as it was."""

import tomllib
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from robustlab.core.toml import to_toml

TEXTS = st.text(st.characters(exclude_categories=["Cs", "Cc"]))
VALUES: Any = st.one_of(TEXTS, st.integers(-(2**63), 2**63 - 1), st.floats(allow_nan=False), st.booleans())
KEYS = st.from_regex("[a-z_]{1,5}", fullmatch=True)
PARTS: Any = st.dictionaries(KEYS, st.one_of(VALUES, st.lists(TEXTS)))


@given(st.dictionaries(KEYS, st.one_of(VALUES, PARTS, st.lists(PARTS), st.dictionaries(KEYS, PARTS))))
def test_what_is_written_is_read_back(content: dict[str, Any]) -> None:
    assert tomllib.loads(to_toml(content)) == content


def test_none_is_left_out_and_a_table_of_tables_needs_no_head() -> None:
    text = to_toml({"a": None, "b": 1.0, "tables": {"first": {"c": (0.5, 0.9)}}})
    assert text == "b = 1.0\n\n[tables.first]\nc = [0.5, 0.9]\n"
