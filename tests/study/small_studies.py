"""Studies of a few seconds, put together for one test, and what the tests ask of them."""

import sqlite3
from pathlib import Path

from robustlab.core.progress import Progress
from robustlab.runs.ledger import Outcome

HEAD = """
schema = 2
name = "small"
title = "A small study"

[data]
dataset = "digits"

[quick]
epochs = 3
train = 1000
validation = 40
test = 60
curve = 20

[networks.baseline]
title = "Baseline"
model = "strided_cnn(hidden=16)"
objective = "cross_entropy"
lr = 5e-3
"""

SCALE = """
[[factors.scale.values]]
id = "study"
title = "study units"
value = 0.5

[[factors.scale.values]]
id = "pixel"
title = "pixel units"
value = 1.0
"""


class Stages(Progress):
    """Collects what happened to each stage."""

    def __init__(self) -> None:
        self.done: list[str] = []
        self.kept: list[str] = []

    def stage(self, name: str, state: str, seconds: float = 0.0, remark: str = "") -> None:
        del seconds, remark
        if state != "running":
            {"done": self.done, "kept": self.kept}[state].append(name)


def evaluation(name: str, **fields: str | int) -> str:
    """Return an evaluation of a recipe."""
    given = {"title": f"Row {name}", "group": "summary", "model": "baseline"} | fields
    plain = (
        str(value).lower() if isinstance(value, bool) or str(value)[0] == "[" else repr(value)
        for value in given.values()
    )
    lines = [f"{field} = {value}" for field, value in zip(given, plain, strict=True)]
    return "\n".join(["", "[[evaluations]]", f'id = "{name}"', *lines, ""])


def claim(**readings: str) -> str:
    """Return a claim of a recipe with one comparison in each reading."""
    parts = [f"{{ title = {title!r}, holds = [{holds!r}] }}" for title, holds in readings.items()]
    return f'\n[[claims]]\nid = "claim"\ntext = "It holds."\nreadings = [{", ".join(parts)}]\n'


def write(folder: Path, *parts: str) -> Path:
    """Write a recipe."""
    path = folder / "small.toml"
    path.write_text("".join(parts), encoding="utf-8")
    return path


def files(folder: Path) -> dict[str, bytes]:
    """Return all files of a folder by their paths."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def outcomes(folder: Path, key: str) -> list[Outcome]:
    """Return the rows of a measurement, including rows whose adversarial image was removed."""
    columns = ", ".join(Outcome.__dataclass_fields__)
    with sqlite3.connect(folder / "ledger.sqlite") as db:
        rows = db.execute(f"SELECT {columns} FROM outcomes WHERE key = ?", (key,)).fetchall()
    names = tuple(Outcome.__dataclass_fields__)
    return [Outcome(**dict(zip(names, row, strict=True))) for row in rows]


def started(folder: Path) -> list[str]:
    """Return the names of all that a run's ledger says was begun, in order."""
    with sqlite3.connect(folder / "ledger.sqlite") as db:
        return [name for (name,) in db.execute("SELECT name FROM events WHERE event = 'started' ORDER BY id")]
