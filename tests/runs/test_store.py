"""A run's folder: what survives, and who may write to it."""

import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from store_records import outcome, record

from robustlab.core.errors import RunError
from robustlab.runs.ledger import Outcome, StageRecord
from robustlab.runs.store import RunStore


@pytest.fixture
def store(tmp_path: Path) -> Iterator[RunStore]:
    with RunStore(tmp_path / "run", "mnist") as opened:
        yield opened


# What is kept

OUTCOMES = st.builds(
    Outcome,
    image_id=st.integers(0, 2**40),
    label=st.integers(0, 9),
    prediction=st.integers(0, 9),
    confidence=st.floats(0, 1),
    distance=st.floats(0, 1e3),
    forwards=st.integers(0, 10**9),
    backwards=st.integers(0, 10**9),
    restart=st.integers(-1, 100),
    success=st.integers(0, 1),
)


@given(rows=st.lists(OUTCOMES, unique_by=lambda row: row.image_id), cut=st.integers(0, 20))
def test_outcomes_come_back_exactly_and_sorted(
    tmp_path_factory: pytest.TempPathFactory, rows: list[Outcome], cut: int
) -> None:
    folder = tmp_path_factory.mktemp("run")
    with RunStore(folder, "mnist") as store:
        store.add_outcomes("key", rows[:cut])
        store.add_outcomes("key", rows[cut:])
        store.add_outcomes("key", rows[:cut])  # once more: a block that was done twice counts once
        store.add_outcomes("other", [outcome(1)])
    with RunStore(folder, "mnist") as store:
        assert store.outcomes("key") == sorted(rows, key=lambda row: row.image_id)
        assert store.outcomes("nothing") == []


def test_stages_come_back(store: RunStore) -> None:
    assert store.stage("a") is None
    store.start_stage("a", "stage a")
    assert store.stage("a") is None
    store.finish_stage(record("a"))
    assert store.stage("a") == record("a")
    store.finish_stage(StageRecord(key="a", name="again", payload={}, seconds=0.0))
    assert store.stage("a") == StageRecord(key="a", name="again", payload={}, seconds=0.0)
    assert store.events() == [
        ("a", "stage a", "started"),
        ("a", "stage a", "finished"),
        ("a", "again", "finished"),
    ]


def test_a_block_is_added_whole_or_not_at_all(store: RunStore) -> None:
    store.add_outcomes("key", [outcome(1)])
    # SQLite takes a NaN for a missing value, which the table refuses at the third row.
    with pytest.raises(RunError):
        store.add_outcomes("key", [outcome(2), outcome(3), outcome(4, float("nan"))])
    assert store.outcomes("key") == [outcome(1)]
    store.add_outcomes("key", [outcome(2)])
    assert store.outcomes("key") == [outcome(1), outcome(2)]


def edited(folder: Path, statement: str) -> RunStore:
    """Change a ledger from outside, and return its store."""
    db = sqlite3.connect(folder / "ledger.sqlite")
    assert db.execute(statement).rowcount > 0
    db.commit()
    db.close()
    return RunStore(folder, "mnist")


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE outcomes SET prediction = 3 WHERE image_id = 2",  # a success becomes a failure
        "UPDATE outcomes SET prediction = 'seven' WHERE image_id = 2",
        "UPDATE outcomes SET confidence = 7.5 WHERE image_id = 2",
        "UPDATE outcomes SET confidence = 9e999 WHERE image_id = 2",
        "UPDATE outcomes SET distance = x'00' WHERE image_id = 2",
        "UPDATE outcomes SET image_id = 4 WHERE image_id = 2",
        "UPDATE outcomes SET key = 'other' WHERE image_id = 2",
        "DELETE FROM outcomes WHERE image_id = 2",
        "DELETE FROM examples WHERE image_id = 2",
        "DELETE FROM digests WHERE image_id = 2",
        "UPDATE digests SET row = 'x' WHERE image_id = 2",
        "UPDATE digests SET example = NULL WHERE image_id = 2",
    ],
)
def test_a_row_that_is_not_as_it_was_written_is_left_out(change: str, tmp_path: Path) -> None:
    rows = [outcome(i) for i in (1, 2, 3)]
    with RunStore(tmp_path, "mnist") as store:
        store.add_outcomes("key", rows, {i: bytes([i]) for i in (1, 2)})
    with edited(tmp_path, change) as store:
        assert store.outcomes("key") == [rows[0], rows[2]]
        assert store.outcomes("other") == []
        store.add_outcomes("key", rows[1:2], {2: b"2"})
        assert store.outcomes("key") == rows
        assert store.examples("key", [1, 2]) == {1: b"\x01", 2: b"2"}


def test_dropped_images_leave_their_rows_and_free_their_space(tmp_path: Path) -> None:
    rows, image = [outcome(i) for i in range(20)], bytes(range(256)) * 200
    with RunStore(tmp_path, "mnist") as store:
        for key in ("one", "two"):
            store.add_outcomes(key, rows, {i: image + bytes([i]) for i in range(20)})
        store.drop_examples({"one": set(range(20)) - {3, 4}})
        assert store.dropped_examples("one") == set(range(20)) - {3, 4}
        assert store.dropped_examples("two") == set()
        assert store.outcomes("one") == store.outcomes("two") == rows
        assert store.examples("one", [3, 4]) == store.examples("two", [3, 4])
        store.drop_examples({"one": {5}})  # a second time there is nothing to do
        with pytest.raises(RunError, match="run the same command again"):
            store.examples("one", [5])
        store.add_outcomes("one", [outcome(5)], {5: image})
        assert store.dropped_examples("one") == set(range(20)) - {3, 4, 5}
    size = (tmp_path / "ledger.sqlite").stat().st_size
    assert 22 * len(image) < size < 25 * len(image)


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE examples SET image = x'' WHERE image_id = 2",
        "UPDATE examples SET image = 'two' WHERE image_id = 2",
        "UPDATE digests SET example = x'' WHERE image_id = 2",
    ],
)
def test_a_damaged_image_is_an_error_once(change: str, tmp_path: Path) -> None:
    with RunStore(tmp_path, "mnist") as store:
        store.add_outcomes("key", [outcome(1), outcome(2)], {1: b"one", 2: b"two"})
    with edited(tmp_path, change) as store:
        assert store.examples("key", [1]) == {1: b"one"}
        with pytest.raises(RunError, match=r"adversarial image of image 2 is damaged; run the same command"):
            store.examples("key", [1, 2])
        assert store.outcomes("key") == [outcome(1)]  # so that the second is measured again


@pytest.mark.parametrize(
    "change",
    [
        """UPDATE stages SET payload = '{"grade": "pass"}'""",
        "UPDATE stages SET payload = 'no JSON'",
        "UPDATE stages SET payload = x'ff'",
        "UPDATE stages SET seconds = 'long'",
        "DELETE FROM digests",
    ],
)
def test_a_record_that_is_not_as_it_was_written_is_none(change: str, tmp_path: Path) -> None:
    with RunStore(tmp_path, "mnist") as store:
        store.finish_stage(record("a"))
    with edited(tmp_path, change) as store:
        assert store.stage("a") is None
        store.finish_stage(record("a"))
        assert store.stage("a") == record("a")


@pytest.mark.parametrize(("value", "read"), [("9e999", 1e9), ("-5", 0.0), ("'long'", 0.0)])
def test_seconds_that_cannot_be(value: str, read: float, tmp_path: Path) -> None:
    with RunStore(tmp_path, "mnist") as store:
        store.add_outcomes("key", [outcome(1)], seconds=2.5)
        assert store.seconds("key") == 2.5
    with edited(tmp_path, f"UPDATE blocks SET seconds = {value}") as store:
        assert store.seconds("key") == read


def test_keep_only_removes_what_no_longer_belongs(store: RunStore) -> None:
    kept, gone = "a" * 64, "b" * 64
    for key in (kept, gone):
        store.finish_stage(record(key))
        store.add_outcomes(key, [outcome(1)])
        store.add_outcomes(f"{key}/0", [outcome(2)])
        store.array_path(key).parent.mkdir(exist_ok=True)
        store.array_path(key).write_bytes(b"x")
    store.keep_only([kept])
    assert store.stage(kept) == record(kept)
    assert store.outcomes(kept) == [outcome(1)]
    assert store.outcomes(f"{kept}/0") == [outcome(2)]
    assert store.array_path(kept).exists()
    assert store.stage(gone) is None
    assert store.outcomes(gone) == []
    assert store.outcomes(f"{gone}/0") == []
    assert not store.array_path(gone).exists()


@pytest.mark.parametrize(
    "key", ["'../../mine'", "'a' || char(0)", "'..'", "''", "x'ff'", "hex(zeroblob(500))"]
)
def test_a_key_that_names_no_file_removes_none(key: str, tmp_path: Path) -> None:
    with RunStore(tmp_path / "run", "mnist") as store:
        store.finish_stage(record("a"))
    mine = tmp_path / "mine.safetensors"
    mine.write_bytes(b"not robustlab's")
    with edited(tmp_path / "run", f"UPDATE stages SET key = {key}") as store:
        store.keep_only([])
        assert store.stage("a") is None
    assert mine.exists()


def test_paths_lie_in_the_folder(store: RunStore) -> None:
    assert store.model_path("adversarial-study") == store.folder / "models" / "adversarial-study.safetensors"
    assert store.array_path("0123456789abcdef") == store.folder / "arrays" / "0123456789abcdef.safetensors"


# Who may write

HOLDER = """
import sys
from pathlib import Path
from robustlab.runs.store import RunStore

with RunStore(Path(sys.argv[1]), "mnist"):
    print("ready", flush=True)
    sys.stdin.read()
"""


@pytest.mark.parametrize("end", ["leaves", "is killed"])
def test_a_folder_in_use_is_an_error_until_the_other(end: str, tmp_path: Path) -> None:
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(tmp_path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "ready\n"
        with pytest.raises(RunError, match="another process is working in"):
            RunStore(tmp_path, "mnist").__enter__()
        if end == "is killed":
            holder.kill()
        else:
            assert holder.stdin is not None
            holder.stdin.close()
        holder.wait()
    with RunStore(tmp_path, "mnist") as store:
        store.finish_stage(record("a"))


def test_the_lock_is_given_back_after_an_error(tmp_path: Path) -> None:
    def fail() -> None:
        with RunStore(tmp_path, "mnist"):
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    with RunStore(tmp_path, "mnist"):
        pass
