"""A run's folder: what survives, and who may write to it."""

import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from robustlab.core.errors import OutputError, RunError
from robustlab.core.ledger_errors import explained
from robustlab.core.store import Outcome, RunStore, StageRecord


def outcome(image_id: int, confidence: float = 0.5) -> Outcome:
    return Outcome(
        image_id=image_id,
        label=3,
        prediction=5,
        confidence=confidence,
        distance=0.25,
        forwards=42,
        backwards=40,
        restart=-1,
    )


def record(key: str) -> StageRecord:
    return StageRecord(key=key, name=f"stage {key}", payload={"x": [1, 2.5, None, "≥"]}, seconds=1.5)


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
from robustlab.core.store import RunStore

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


# When the disk fails


def test_a_path_below_a_file_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    with pytest.raises(OutputError, match="cannot write"):
        RunStore(tmp_path / "file" / "run", "mnist").__enter__()


FILLING = """
import resource, sys
from pathlib import Path
from robustlab.core.errors import OutputError
from robustlab.core.store import Outcome, RunStore

values = dict(label=3, prediction=5, confidence=0.5, distance=0.25, forwards=42, backwards=40, restart=-1)
with RunStore(Path(sys.argv[1]), "mnist") as store:
    resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, 200_000))
    for block in range(1000):
        rows = [Outcome(image_id=100 * block + i, **values) for i in range(100)]
        try:
            store.add_outcomes("key", rows)
        except OutputError as error:
            print(block, error, flush=True)
            break
"""


def failing_with(name: str) -> sqlite3.OperationalError:
    error = sqlite3.OperationalError(name.lower())
    error.sqlite_errorname = name
    return error


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("SQLITE_FULL", "the disk is full"),
        ("SQLITE_IOERR_WRITE", "the disk failed, is full, or limits the size of files"),
        ("SQLITE_READONLY", "it is read-only"),
        ("SQLITE_READONLY_DIRECTORY", "it is read-only"),
        ("SQLITE_BUSY", "another program keeps it locked"),
        ("SQLITE_BUSY_SNAPSHOT", "another program keeps it locked"),
        ("SQLITE_LOCKED", "another program keeps it locked"),
        ("SQLITE_NOMEM", "memory ran out"),
        ("SQLITE_CANTOPEN", "permission may be missing"),
    ],
)
def test_each_refusal_of_the_machine_has_its_reason(name: str, reason: str, tmp_path: Path) -> None:
    error = explained(failing_with(name), tmp_path / "ledger.sqlite")
    assert isinstance(error, OutputError)
    assert reason in str(error)
    gone = explained(failing_with(name), tmp_path / "gone" / "ledger.sqlite")
    assert "its folder was removed" in str(gone)
    assert all(len(str(found)) < 300 + len(str(tmp_path)) for found in (error, gone))


@pytest.mark.parametrize(
    "name", ["SQLITE_CORRUPT", "SQLITE_NOTADB", "SQLITE_ERROR", "SQLITE_CONSTRAINT_NOTNULL"]
)
def test_anything_else_is_damage(name: str, tmp_path: Path) -> None:
    error = explained(failing_with(name), tmp_path / "ledger.sqlite")
    assert isinstance(error, RunError)
    assert "is damaged" in str(error)


def test_a_ledger_that_another_program_locks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with RunStore(tmp_path, "mnist"):
        pass
    connect = sqlite3.connect
    monkeypatch.setattr(sqlite3, "connect", lambda path: connect(path, timeout=0.01))
    other = connect(tmp_path / "ledger.sqlite", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with (
        pytest.raises(OutputError, match="another program keeps it locked"),
        RunStore(tmp_path, "mnist") as store,
    ):
        store.finish_stage(record("a"))
    other.close()
    with RunStore(tmp_path, "mnist") as store:
        store.finish_stage(record("a"))


def test_a_ledger_that_is_a_folder(tmp_path: Path) -> None:
    (tmp_path / "run.json").write_text('{"store_version": 1, "study": "mnist"}')
    (tmp_path / "ledger.sqlite").mkdir()
    with pytest.raises(OutputError, match="it is a folder"):
        RunStore(tmp_path, "mnist").__enter__()


def test_a_ledger_of_other_tables_is_damaged(tmp_path: Path) -> None:
    other = sqlite3.connect(tmp_path / "ledger.sqlite")
    other.execute("CREATE TABLE outcomes (note TEXT)")
    other.close()
    (tmp_path / "run.json").write_text('{"store_version": 1, "study": "mnist"}')
    with pytest.raises(RunError, match="is damaged"), RunStore(tmp_path, "mnist") as store:
        store.outcomes("key")


@pytest.mark.skipif(sys.platform == "win32", reason="an open folder can't be removed")
@pytest.mark.parametrize("then", ["nothing", "a file", "another run"])
def test_a_folder_that_is_removed_while_it_is_open(then: str, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    with RunStore(folder, "mnist") as store:
        shutil.rmtree(folder)
        if then == "a file":
            folder.write_text("mine")
        elif then == "another run":
            with RunStore(folder, "mnist") as other:
                other.finish_stage(record("theirs"))
        for write in (partial(store.finish_stage, record("a")), store.reopen, partial(store.keep_only, [])):
            with pytest.raises(OutputError, match="was removed or replaced while the run"):
                write()
    assert folder.exists() == (then != "nothing")
    if then == "another run":
        with RunStore(folder, "mnist") as other:
            assert other.stage("theirs") == record("theirs")


@pytest.mark.skipif(sys.platform == "win32", reason="needs limits on the size of files")
def test_a_full_disk_loses_nothing_that_was_finished(tmp_path: Path) -> None:
    command = [sys.executable, "-c", FILLING, str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    finished = int(done.stdout.split()[0])
    assert "cannot write" in done.stdout
    assert "limits the size of files" in done.stdout
    assert finished > 0
    with RunStore(tmp_path, "mnist") as store:
        assert store.outcomes("key") == [outcome(i) for i in range(100 * finished)]
        store.add_outcomes("key", [outcome(100 * finished)])


def damage(folder: Path, how: str) -> None:
    path = folder / "ledger.sqlite"
    content = path.read_bytes()
    if how == "overwritten":
        path.write_bytes(b"this is no database, this is no database" * 100)
    elif how == "truncated":
        path.write_bytes(content[: len(content) // 2])
    else:
        path.write_bytes(content[:100] + bytes(len(content) - 100))


@pytest.mark.parametrize("how", ["overwritten", "truncated", "zeroed"])
def test_a_damaged_ledger_is_told(how: str, tmp_path: Path) -> None:
    with RunStore(tmp_path, "mnist") as store:
        store.add_outcomes("key", [outcome(i) for i in range(5000)])
    damage(tmp_path, how)

    def read() -> None:
        with RunStore(tmp_path, "mnist") as store:
            store.outcomes("key")

    for _ in range(2):  # the lock is free after the first time
        with pytest.raises(RunError, match=r"ledger\.sqlite is damaged .*move it away"):
            read()
    (tmp_path / "ledger.sqlite").unlink()
    with RunStore(tmp_path, "mnist") as store:
        assert store.outcomes("key") == []


def test_the_ledger_is_plain_sqlite(tmp_path: Path) -> None:
    with RunStore(tmp_path, "mnist") as store:
        store.add_outcomes("key", [outcome(7)])
    ledger = sqlite3.connect(tmp_path / "ledger.sqlite")
    rows = ledger.execute("SELECT image_id, prediction FROM outcomes WHERE key = 'key'").fetchall()
    ledger.close()
    assert rows == [(7, 5)]
