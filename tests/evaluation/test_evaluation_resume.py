"""Real kills: an evaluation that is killed at several moments ends as one that is not, repeating nothing."""

import json
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
from evaluation_runs import table

from robustlab.evaluation.checks import all_checks

MODEL = '''
import torch
from torch import nn
import robustlab

class Nearest(nn.Module):
    """The class whose mean image is nearest."""

    def __init__(self, images, labels):
        super().__init__()
        means = torch.stack([images[labels == c].mean(dim=0).flatten() for c in range(10)])
        self.register_buffer("means", means)

    def forward(self, images):
        return -torch.cdist(images.flatten(1), self.means)

def make_model():
    train = robustlab.load_dataset("digits").train
    return Nearest(train.pixels(slice(None)), train.labels)
'''
ATTACKS = "pgd(steps=3), apgd(steps=15), square(queries=60)"
PATIENCE = 120.0
CURVE = ("-n", "60", "--attacks", ATTACKS, "--batch-size", "6", "--curve", "--no-checks")
CHECKS = ("-n", "12", "--attacks", "pgd(steps=3)", "--checks")
IDS = {unit.id for unit in all_checks()}


def start(folder: Path, options: tuple[str, ...] = CURVE) -> subprocess.Popen[bytes]:
    command = [
        sys.executable,
        "-m",
        "robustlab",
        "evaluate",
        "--model",
        f"{folder.parent / 'net.py'}:make_model",
    ]
    command += ["--dataset", "digits", "--threat", "linf(eps=0.1)", "--precision", "fp32", *options]
    command += ["--out", str(folder), "--quiet"]
    # What runs in a shell's background is deaf to Ctrl-C, and so are its children unless they are told.
    return subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        preexec_fn=partial(signal.signal, signal.SIGINT, signal.SIG_DFL),
    )


def finish(folder: Path, options: tuple[str, ...] = CURVE) -> None:
    process = start(folder, options)
    _, errors = process.communicate(timeout=PATIENCE)
    assert process.returncode == 0, errors.decode()


def finished_blocks(folder: Path) -> int:
    """Return how many blocks are in the ledger, read while another process writes it."""
    try:
        return len(table(folder, "blocks", "id"))
    except sqlite3.OperationalError:
        return 0  # not created yet


def checks_in(folder: Path, event: str) -> list[str]:
    """Return the checks on which work began, or ended."""
    try:
        events = table(folder, "events", "name, event")
    except sqlite3.OperationalError:
        return []  # not created yet
    return [name for name, what in events if name in IDS and what == event]


def kill_when(folder: Path, reached: Callable[[], bool], options: tuple[str, ...] = CURVE) -> bool:
    """Start the evaluation and kill it, without warning, once it got so far; False if it ended before."""
    process = start(folder, options)
    deadline = time.monotonic() + PATIENCE
    while process.poll() is None:
        assert time.monotonic() < deadline, "the evaluation hangs"
        if (folder / "ledger.sqlite").exists() and reached():
            process.send_signal(signal.SIGKILL)
            process.communicate()
            return True
        time.sleep(0.002)
    _, errors = process.communicate()
    assert process.returncode == 0, errors.decode()
    return False


def figures(folder: Path) -> dict[str, Any]:
    """Return the results less what depends on the clock."""
    results: dict[str, Any] = json.loads((folder / "results.json").read_text())
    for name in ("created", "seconds", "peak_memory_mb", "command"):
        del results[name]
    for row in [*results["rows"], *([results["curve"]] if results["curve"] else [])]:
        del row["seconds"]
    return results


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("evaluations") / "run"
    (folder.parent / "net.py").write_text(MODEL)
    finish(folder)
    return folder


def test_killed_and_resumed_is_the_same(undisturbed: Path) -> None:
    folder, kills = undisturbed.parent / "killed", 0
    everything = finished_blocks(undisturbed)

    def so_far(blocks: int) -> bool:
        return finished_blocks(folder) >= blocks

    for share in (0.1, 0.4, 0.7):
        if kill_when(folder, partial(so_far, int(share * everything))):
            kills += 1
            assert not (folder / "manifest.json").exists(), "an unfinished run looks complete"
    assert kills == 3
    finish(folder)
    # The same blocks, image by image; none was done twice.
    assert table(folder, "blocks", "key, images") == table(undisturbed, "blocks", "key, images")
    assert table(folder, "outcomes") == table(undisturbed, "outcomes")
    assert table(folder, "examples") == table(undisturbed, "examples")
    assert figures(folder) == figures(undisturbed)
    assert (folder / "images.csv").read_bytes() == (undisturbed / "images.csv").read_bytes()
    assert (folder / "report.html").exists()


def test_killed_in_its_checks_and_resumed_is_the_same(undisturbed: Path) -> None:
    folder, whole = undisturbed.parent / "killed_in_checks", undisturbed.parent / "checked"
    finish(whole, CHECKS)
    everything = checks_in(whole, "finished")
    assert len(everything) > 10

    def begun() -> bool:
        return len(checks_in(folder, "started")) >= 10

    assert kill_when(folder, begun, CHECKS), "it ended before"
    assert not (folder / "results.json").exists(), "an unfinished run looks complete"
    assert 9 <= len(checks_in(folder, "finished")) < len(everything)
    blocks = table(folder, "blocks", "key, images")
    finish(folder, CHECKS)
    # What was done was not done again, neither an attack nor a check; one check began twice.
    assert table(folder, "blocks", "key, images") == blocks == table(whole, "blocks", "key, images")
    assert checks_in(folder, "finished") == everything
    assert len(everything) <= len(checks_in(folder, "started")) <= len(everything) + 1
    assert figures(folder) == figures(whole)
    assert (folder / "images.csv").read_bytes() == (whole / "images.csv").read_bytes()


def test_ctrl_c_says_that_nothing_is_lost(undisturbed: Path) -> None:
    folder = undisturbed.parent / "interrupted"
    process = start(folder)
    while not (folder / "ledger.sqlite").exists() or finished_blocks(folder) < 3:
        assert process.poll() is None
        time.sleep(0.005)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=PATIENCE)
    assert process.returncode == 130
    assert b"the same command goes on" in errors
    assert b"Traceback" not in errors
