"""JSON that anybody may have written: plain values come back, and all else is refused in one line."""

import json
import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from robustlab.core import untrusted
from robustlab.core.fields import _clean
from robustlab.core.untrusted import parse_json, read_json

NUMBERS = st.integers(-(2**70), 2**70) | st.floats(allow_nan=False, allow_infinity=False)
SCALARS = st.none() | st.booleans() | NUMBERS | st.text()
TREES = st.recursive(SCALARS, lambda part: st.lists(part) | st.dictionaries(st.text(), part), max_leaves=20)


@given(TREES)
def test_what_json_can_hold_comes_back(tree: Any) -> None:
    assert parse_json(json.dumps(tree)) == tree
    assert parse_json(json.dumps(tree, ensure_ascii=False, indent=2).encode()) == tree


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("[" * 100_000 + "]" * 100_000, "recursion limit"),
        ('{"a":' * 100_000, "recursion limit"),
        ("9" * 5000, "out of range"),
        ('{"a": 1, "a": 2}', "a name occurs twice"),
        ('[{"a": {"b": 1, "b": 1}}]', "a name occurs twice"),
        ("NaN", "expected value"),
        ("[Infinity]", "expected value"),
        ("[-Infinity]", "invalid number"),
        ('"\\ud800"', "hex escape"),
        ("", "EOF"),
        ("[1,]", "trailing comma"),
        (b"\xff\xfe", "expected value"),
        (b'"\xff"', "invalid unicode"),
    ],
    ids=lambda value: str(value)[:20],
)
def test_what_is_no_json_is_refused(text: str | bytes, told: str) -> None:
    with pytest.raises(ValueError, match=told) as caught:
        parse_json(text)
    assert len(str(caught.value)) < 100


def test_a_file_is_read_up_to_a_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "x.json"
    path.write_text("[" + " " * 100 + "1]")
    assert read_json(path) == [1]
    monkeypatch.setattr(untrusted, "JSON_LIMIT", 100)
    with pytest.raises(ValueError, match="larger than 100 bytes"):
        read_json(path)


def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", tmp_path):
        with pytest.raises(ValueError, match="it is not a file"):
            read_json(path)


@given(st.text(st.characters(codec=None), max_size=50))
def test_a_text_can_be_shown(text: str) -> None:
    shown = _clean(text)
    shown.encode()
    assert len(shown) == len(text)
    assert all(sign.isprintable() or sign in "\n\t" or ord(sign) > 0x9F for sign in shown)
    assert _clean(shown) == shown


def test_a_text_is_bounded() -> None:
    assert len(_clean("x" * 10**6)) == 100_001
