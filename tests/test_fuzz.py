"""A short round of every fuzzer; `python -m fuzz` in ``benchmarks/`` runs the long one."""

import time
from pathlib import Path

import pytest

from fuzz import FAMILIES, families  # noqa: F401
from fuzz.law import try_input, unfit
from robustlab.core.errors import RobustlabError
from robustlab.core.text import MESSAGE_LIMIT

SECONDS = 1.0
"""Of each family; the first inputs are tried however long they take."""


@pytest.mark.parametrize("name", list(FAMILIES))
def test_every_input_is_taken_or_refused_in_one_line(name: str) -> None:
    started, index = time.monotonic(), 0
    while index < 10 or (time.monotonic() - started < SECONDS and index < 200):
        outcome = try_input(name, 1, index)
        assert not outcome.fault, f"python -m fuzz --kind {name} --seed 1 --only {index}\n{outcome.fault}"
        index += 1


def _broken(error: BaseException) -> None:
    raise error


@pytest.mark.parametrize("error", [KeyError("x"), SystemExit(0), AssertionError("two lines"), MemoryError()])
def test_the_law_sees_what_escapes(error: BaseException, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(FAMILIES, "broken", lambda *_: lambda: _broken(error))
    assert type(error).__name__ in try_input("broken", 0, 0).fault


def test_the_law_sees_a_hang_and_a_flood_of_memory(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("fuzz.law.SECONDS", 0.2)
    monkeypatch.setitem(FAMILIES, "hang", lambda *_: lambda: time.sleep(5))
    assert "TooSlow" in try_input("hang", 0, 0, tmp_path).fault
    monkeypatch.setitem(FAMILIES, "flood", lambda *_: lambda: bytearray(3 * 1024**3))
    assert "MemoryError" in try_input("flood", 0, 0, tmp_path).fault


@pytest.mark.parametrize(
    "message", ["", "two\nlines", "\x1b[31mred", "turned \u202e round", "x" * 400, "half \ud800"]
)
def test_a_message_may_be_unfit(message: str) -> None:
    assert unfit(message)
    fit = str(RobustlabError(f"the name is {message}"))
    assert not unfit(fit)
    assert len(fit) <= MESSAGE_LIMIT
