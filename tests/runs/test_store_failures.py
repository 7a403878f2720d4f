"""A run's folder when the disk fails, the ledger is damaged or another program is in the way."""

import shutil
import sqlite3
import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest
from store_records import outcome, record

from robustlab.core.errors import OutputError, RunError
from robustlab.runs.ledger_errors import explained
from robustlab.runs.store import RunStore


def test_a_path_below_a_file_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    with pytest.raises(OutputError, match="cannot write"):
        RunStore(tmp_path / "file" / "run", "mnist").__enter__()


FILLING = """
import resource, sys
from pathlib import Path
from robustlab.core.errors import OutputError
from robustlab.runs.ledger import Outcome
from robustlab.runs.store import RunStore

values = dict(label=3, prediction=5, confidence=0.5, distance=0.25, forwards=42, backwards=40, restart=-1,
              success=1)
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
