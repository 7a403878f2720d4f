"""Kills runs at random moments, resumes them, and checks that nothing was lost and nothing false was said.

    python benchmarks/kills.py --kills 100 --seed 0 --seconds 3600

The seed decides which runs are killed, when, and with which signal; where in the work that moment falls
depends on the machine. Every run is a process of its own, forked from one that has imported the libraries and
computed nothing, so that a kill falls into the work and not into the imports (and so it needs a Unix).

After every kill the folder must hold either a finished run with the figures of an undisturbed one (or of
the run that is being replaced), or one that robustlab refuses to read because it did not end. At the last
one the same command must end with the figures, verdicts, weights and ledger of an undisturbed run, byte for
byte, and no finished block is done twice. Exit code 1 and the folder's path say that one did not.
"""

import argparse
import hashlib
import json
import os
import random
import shutil
import signal
import sqlite3
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import robustlab
from robustlab.api import evaluate, run_study  # noqa: F401 (imported once, before any fork)
from robustlab.cli import browser, main, tables, terminal  # noqa: F401
from robustlab.core.errors import RunError

PATIENCE = 300.0
MOST_KILLS_OF_A_RUN = 3
CLOCK = {"created", "seconds", "peak_memory_mb", "command", "cost"}

MODEL = '''
import torch
import robustlab

class Nearest(torch.nn.Module):
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
RECIPE = Path(__file__).parents[1] / "tests" / "recipes" / "tiny.toml"
ATTACKS = "pgd(steps=3), apgd(steps=15), square(queries=60)"
EVALUATE = ["evaluate", "--model", "net.py:make_model", "--dataset", "digits", "--threat", "linf(eps=0.1)"]
EVALUATE += ["--precision", "fp32", "--quiet", "--out", "run"]
LONG = [*EVALUATE, "--attacks", ATTACKS, "--batch-size", "6", "--curve", "--no-checks"]
CHECKED = [*EVALUATE, "--attacks", "pgd(steps=3)", "-n", "12"]
STUDY = ["study", str(RECIPE), "--quiet", "--out", "run"]

SCENARIOS: dict[str, tuple[list[str] | None, list[str]]] = {
    "evaluation": (None, [*LONG, "-n", "60"]),
    "checks": (None, CHECKED),
    "more images": ([*LONG, "-n", "20"], [*LONG, "-n", "60"]),
    "evaluation replaced": ([*LONG, "-n", "30"], [*LONG, "-n", "30", "--seed", "1", "--overwrite"]),
    "report": ([*LONG, "-n", "30"], ["report", "run"]),
    "study": (None, STUDY),
    "study replaced": (STUDY, [*STUDY, "--seed", "1", "--overwrite"]),
}
"""By name: what is run, and ends, beforehand; and what is killed, and resumes."""


@dataclass
class Child:
    """A run of the command line in a process of its own, in a working directory."""

    home: Path
    arguments: list[str]
    code: int | None = None

    def __post_init__(self) -> None:
        # A signal must not find the new process while it is still in here.
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        self.pid = os.fork()
        if self.pid == 0:
            self._work()
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})

    def _work(self) -> None:
        code = 70
        try:
            signal.signal(signal.SIGINT, signal.default_int_handler)
            os.chdir(self.home)
            for number, name in ((1, "stdout"), (2, "stderr")):
                os.dup2(os.open(name, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), number)
            sys.argv = ["robustlab", *self.arguments]
            signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
            main.main()
        except KeyboardInterrupt:  # before the command line began
            code = 130
        except SystemExit as end:
            code = end.code if isinstance(end.code, int) else int(end.code is not None)
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(code)

    def wait(self, seconds: float) -> bool:
        """Wait at most so long and tell whether it ended."""
        deadline = time.monotonic() + seconds
        while self.code is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                self.code = os.waitstatus_to_exitcode(status)
            elif time.monotonic() >= deadline:
                return False
            else:
                time.sleep(min(0.002, max(0.0, deadline - time.monotonic())))
        return True

    def end(self) -> None:
        """Wait until it ends by itself, as it must."""
        if not self.wait(PATIENCE):
            os.kill(self.pid, signal.SIGKILL)
            self.wait(PATIENCE)
            raise LostError(f"{self.arguments} hangs")
        if self.code:
            raise LostError(f"{self.arguments} ended with {self.code}: {(self.home / 'stderr').read_text()}")


class LostError(Exception):
    """A kill had consequences."""


def without_clock(content: Any) -> Any:
    """Return results less what depends on the clock and the machine."""
    if isinstance(content, dict):
        return {key: without_clock(value) for key, value in content.items() if key not in CLOCK}
    return [without_clock(item) for item in content] if isinstance(content, list) else content


def figures(folder: Path) -> str | None:
    """Return every figure of a finished run as robustlab reads it, None where it says that it did not end."""
    try:
        return json.dumps(without_clock(robustlab.load_run(folder).results.model_dump(mode="json")))
    except RunError as error:
        if "did not end" in str(error) or "holds no finished run" in str(error):
            return None
        raise LostError(f"{folder} is not readable: {error}") from None


def everything(folder: Path) -> dict[str, object]:
    """Return what a finished run holds, less what depends on the clock."""
    files = [path for path in sorted(folder.rglob("*")) if path.suffix in {".safetensors", ".csv", ".svg"}]
    found: dict[str, object] = {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files
    }
    db = sqlite3.connect(folder / "ledger.sqlite")
    for columns in ("* FROM outcomes", "* FROM examples", "key, images FROM blocks"):
        found[columns] = sorted(db.execute(f"SELECT {columns}").fetchall())
    db.close()
    left = sorted(str(path) for end in ("part", "checkpoint") for path in folder.rglob(f"*.{end}"))
    page = (folder / "report.html").stat().st_size > 0
    return {**found, "left": left, "page": page, "figures": figures(folder)}


@dataclass
class Scenario:
    """One kind of run, in a folder of its own."""

    name: str
    root: Path
    kills: Counter[str] = field(default_factory=Counter)

    @cached_property
    def start(self) -> Path:
        """The working directory in which a run begins."""
        home = self.root / f"{self.name} before"
        home.mkdir()
        (home / "net.py").write_text(MODEL)
        before = SCENARIOS[self.name][0]
        if before:
            Child(home, before).end()
        return home

    @cached_property
    def undisturbed(self) -> tuple[float, dict[str, object], set[str | None]]:
        """Seconds and end of a run that nobody kills, and what may be read while it is under way."""
        home = self.copy("undisturbed")
        before = figures(home / "run")
        started = time.monotonic()
        Child(home, SCENARIOS[self.name][1]).end()
        seconds, end = time.monotonic() - started, everything(home / "run")
        # A report never makes a run incomplete.
        unfinished = set() if self.name == "report" else {None}
        return seconds, end, {before, figures(home / "run"), *unfinished}

    def copy(self, name: str) -> Path:
        """Return a new working directory."""
        return Path(shutil.copytree(self.start, self.root / f"{self.name} {name}"))

    def round(self, number: int, dice: random.Random) -> None:
        """Kill a run a few times, then let it end."""
        seconds, expected, readable = self.undisturbed
        home = self.copy(str(number))
        for _ in range(dice.randint(1, MOST_KILLS_OF_A_RUN)):
            moment, how = dice.uniform(0, seconds), dice.choices([signal.SIGKILL, signal.SIGINT], [4, 1])[0]
            child = Child(home, SCENARIOS[self.name][1])
            if child.wait(moment):
                child.end()
                self.kills["ended before"] += 1
                break
            os.kill(child.pid, how)
            if not child.wait(PATIENCE):
                raise LostError(f"{home} goes on after {how.name}")
            self.kills[how.name] += 1
            written = home / "stderr"  # not there yet where the kill came first
            errors = written.read_text() if written.exists() else ""
            # Python drops a Ctrl-C that falls into the callback of a weak reference: the run ends by itself.
            odd = child.code not in ({0, 130} if how == signal.SIGINT else {0, -signal.SIGKILL})
            if odd or (child.code and "Traceback" in errors):
                raise LostError(f"{home} ended with {child.code} after {how.name}: {errors}")
            if figures(home / "run") not in readable:
                raise LostError(f"{home} passes for a finished run with other figures")
        Child(home, SCENARIOS[self.name][1]).end()
        found = everything(home / "run")
        wrong = [name for name in expected.keys() | found.keys() if expected.get(name) != found.get(name)]
        if wrong:
            raise LostError(f"{home} ended otherwise than an undisturbed run: {', '.join(sorted(wrong))}")
        shutil.rmtree(home)


def campaign(names: list[str], kills: int, seed: int, seconds: float) -> int:
    """Run rounds until there were enough kills or the time is over; return the number of those that lost."""
    root, dice, started = Path(tempfile.mkdtemp(prefix="kills-")), random.Random(seed), time.monotonic()
    scenarios, lost, number = [Scenario(name, root) for name in names], 0, 0

    kinds = ["SIGKILL", "SIGINT", "ended before"]

    def done() -> int:
        return sum(scenario.kills[kind] for scenario in scenarios for kind in kinds[:2])

    while done() < kills and time.monotonic() - started < seconds:
        number += 1
        try:
            dice.choice(scenarios).round(number, dice)
        except LostError as error:
            lost += 1
            print(f"LOST in round {number}: {error}", flush=True)
    print(f"{'':22}" + "".join(f"{kind:>14}" for kind in kinds))
    for scenario in scenarios:
        print(f"{scenario.name:22}" + "".join(f"{scenario.kills[kind]:14}" for kind in kinds))
    print(f"{done()} kills in {number} rounds, {time.monotonic() - started:.0f} s; lost: {lost}")
    if not lost:
        shutil.rmtree(root)
    return lost


def parse() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--seconds", type=float, default=3600.0, help="no round begins later")
    parser.add_argument("--only", nargs="+", choices=SCENARIOS, default=list(SCENARIOS))
    return parser.parse_args()


if __name__ == "__main__":
    given = parse()
    sys.exit(bool(campaign(given.only, given.kills, given.seed, given.seconds)))
