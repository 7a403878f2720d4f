"""Real kills: a study that is killed in every one of its stages ends with the results of one that is not."""

import hashlib
import json
import re
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest

TINY = Path(__file__).parents[1] / "recipes" / "tiny.toml"
PATIENCE = 120.0


def start(folder: Path) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "robustlab", "study", str(TINY), "--out", str(folder), "--quiet"]
    # What runs in a shell's background is deaf to Ctrl-C, and so are its children unless they are told.
    return subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        preexec_fn=partial(signal.signal, signal.SIGINT, signal.SIG_DFL),
    )


def finish(folder: Path) -> None:
    process = start(folder)
    _, errors = process.communicate(timeout=PATIENCE)
    assert process.returncode == 0, errors.decode()


def events(folder: Path) -> list[tuple[str, str]]:
    """Return (stage, event) from the ledger, read while another process writes it."""
    path = folder / "ledger.sqlite"
    if not path.exists():
        return []
    db = sqlite3.connect(path, timeout=5)
    try:
        return list(db.execute("SELECT name, event FROM events ORDER BY id"))
    except sqlite3.OperationalError:
        return []  # not created yet
    finally:
        db.close()


def keyed_events(folder: Path) -> list[tuple[str, str, str]]:
    """Return (stage, event, key); evaluations have stages of the same names."""
    db = sqlite3.connect(folder / "ledger.sqlite")
    try:
        return list(db.execute("SELECT name, event, key FROM events ORDER BY id"))
    finally:
        db.close()


def kill_when(folder: Path, condition: Callable[[], bool]) -> bool:
    """Start the study and kill it, without warning, once the condition holds; False if it ended before."""
    process = start(folder)
    deadline = time.monotonic() + PATIENCE
    while process.poll() is None:
        assert time.monotonic() < deadline, "the study hangs"
        if condition():
            process.send_signal(signal.SIGKILL)
            process.communicate()
            return True
        time.sleep(0.005)
    _, errors = process.communicate()
    assert process.returncode == 0, errors.decode()
    return False


def measured(folder: Path) -> dict[str, Any]:
    """Return the results less what depends on the clock."""
    results: dict[str, Any] = json.loads((folder / "results.json").read_text())
    for name in ("created", "cost", "peak_memory_mb"):
        del results[name]
    return results


def verdicts(folder: Path) -> dict[str, bytes]:
    """Return the verdicts on all images of all evaluations."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("images.csv")}


def hashes(folder: Path) -> dict[str, str]:
    """Return the hashes of all weights and pictures."""
    files = sorted(folder.rglob("*.safetensors"))
    return {str(f.relative_to(folder)): hashlib.sha256(f.read_bytes()).hexdigest() for f in files}


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs") / "undisturbed"
    finish(folder)
    return folder


def kind(stage: str) -> str:
    """Return what is killed once: each training, and of all else each kind of stage."""
    read_back = " verified" if stage.endswith(" verified") else ""
    return stage if stage.startswith("train ") else re.split(r"[ (]", stage)[0] + read_back


def test_killed_in_every_kind_of_stage_ends_with_the_same_results(undisturbed: Path, tmp_path: Path) -> None:
    folder = tmp_path / "killed"
    killed: set[str] = set()

    def a_stage_started_in_which_no_run_was_killed_yet() -> bool:
        running = events(folder)
        return bool(running) and running[-1][1] == "started" and kind(running[-1][0]) not in killed

    while kill_when(folder, a_stage_started_in_which_no_run_was_killed_yet):
        assert not (folder / "manifest.json").exists(), "an unfinished run looks complete"
        killed.add(kind(events(folder)[-1][0]))

    assert sum(name.startswith("train ") for name in killed) == 5, f"killed only in {sorted(killed)}"
    assert len(killed) >= 12, f"killed only in {sorted(killed)}"
    assert measured(folder) == measured(undisturbed)
    assert hashes(folder) == hashes(undisturbed)
    assert verdicts(folder) == verdicts(undisturbed) != {}
    finished: set[str] = set()
    for name, event, key in keyed_events(folder):
        if event == "started":
            assert key not in finished, f"{name} was done again after it was finished"
        else:
            finished.add(key)


def test_killed_between_epochs_goes_on_from_the_checkpoint(undisturbed: Path, tmp_path: Path) -> None:
    folder = tmp_path / "killed"
    checkpoint = folder / "models" / "baseline.checkpoint"
    assert kill_when(folder, checkpoint.exists)
    assert checkpoint.exists()
    finish(folder)
    assert not checkpoint.exists()
    assert measured(folder) == measured(undisturbed)
    assert hashes(folder) == hashes(undisturbed)


def test_interrupt_stops_cleanly(tmp_path: Path) -> None:
    folder = tmp_path / "interrupted"
    process = start(folder)
    while not any(event == "started" for _, event in events(folder)):
        assert process.poll() is None
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=PATIENCE)
    assert process.returncode == 130
    assert b"the same command goes on" in errors
    assert b"Traceback" not in errors


def test_two_processes_cannot_share_a_folder(tmp_path: Path) -> None:
    folder = tmp_path / "shared"
    first = start(folder)
    while not events(folder):
        assert first.poll() is None
        time.sleep(0.01)
    first.send_signal(signal.SIGSTOP)  # or it may end before the second asks
    second = start(folder)
    _, errors = second.communicate(timeout=PATIENCE)
    first.kill()
    first.communicate()
    assert second.returncode == 2
    assert b"another process is working" in errors
