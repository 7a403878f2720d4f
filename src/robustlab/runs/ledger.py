"""The ledger's contents: its tables, the rows of images, the records of stages, and their digests."""

import hashlib
import json
import re
import sqlite3
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from robustlab import __version__
from robustlab.core.errors import RunError
from robustlab.runs.ledger_errors import explained
from robustlab.runs.manifest import AGAIN

TABLES = """
CREATE TABLE IF NOT EXISTS stages (
    key TEXT PRIMARY KEY, name TEXT NOT NULL, payload TEXT NOT NULL, seconds REAL NOT NULL);
CREATE TABLE IF NOT EXISTS events (
    id INTEGER PRIMARY KEY, key TEXT NOT NULL, name TEXT NOT NULL, event TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS outcomes (
    key TEXT NOT NULL, image_id INTEGER NOT NULL, label INTEGER NOT NULL, prediction INTEGER NOT NULL,
    confidence REAL NOT NULL, distance REAL NOT NULL, forwards INTEGER NOT NULL, backwards INTEGER NOT NULL,
    restart INTEGER NOT NULL, success INTEGER NOT NULL, PRIMARY KEY (key, image_id)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS examples (
    key TEXT NOT NULL, image_id INTEGER NOT NULL, image BLOB NOT NULL, PRIMARY KEY (key, image_id));
CREATE TABLE IF NOT EXISTS blocks (
    id INTEGER PRIMARY KEY, key TEXT NOT NULL, images INTEGER NOT NULL, seconds REAL NOT NULL);
CREATE TABLE IF NOT EXISTS digests (
    key TEXT NOT NULL, image_id INTEGER NOT NULL, row BLOB NOT NULL, example BLOB,
    PRIMARY KEY (key, image_id)) WITHOUT ROWID;
"""

_CODE = re.compile(r"( [0-9a-f]{16})?")
"""What may follow an attack's name in a key: the hash of a user's code, as `digest` makes it."""


def digest(*content: object) -> str:
    """Return 64 bits of the hash of JSON content and robustlab's version."""
    return hashlib.sha256(json.dumps([*content, __version__], sort_keys=True).encode()).hexdigest()[:16]


def row_digest(*content: object) -> bytes:
    """Return the digest of values that SQLite returns unchanged."""
    parts = (part if isinstance(part, bytes) else repr(part).encode() for part in content)
    return hashlib.blake2b(b"\0".join(parts), digest_size=16).digest()


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """One image under one measurement: a row of the ledger.

    ``restart`` is the attack's restart that found the image; -1 for the clean image. ``success``: 1 if the
    attacker's goal is reached, at any distance, else 0.
    """

    image_id: int
    label: int
    prediction: int
    confidence: float
    distance: float
    forwards: int
    backwards: int
    restart: int
    success: int

    @property
    def correct(self) -> bool:
        """Whether the prediction is the label."""
        return self.prediction == self.label

    def values(self) -> tuple[int | float, ...]:
        """Return the values as SQLite returns them; it does not keep minus zero."""
        return tuple(getattr(self, name) + 0 for name in Outcome.__dataclass_fields__)


@dataclass(frozen=True, kw_only=True)
class StageRecord:
    """A finished stage: its payload and its seconds."""

    key: str
    name: str
    payload: dict[str, Any]
    seconds: float


def drop_older_tables(db: sqlite3.Connection) -> None:
    """Drop the rows of an older version without the column ``success``; their keys are out of use."""
    columns = {row[1] for row in db.execute("PRAGMA table_info(outcomes)")}
    if columns == {"key", *Outcome.__dataclass_fields__} - {"success"}:
        with db:
            for table in ("outcomes", "examples", "blocks"):
                db.execute(f"DROP TABLE IF EXISTS {table}")


def read_examples(path: Path, key: str, images: Mapping[int, str]) -> dict[int, bytes]:
    """Read perturbed images from the ledger of a finished run, which other processes may read, too.

    Args:
        path: of the ledger.
        key: the first part of the measurements' keys, before the slash.
        images: for each image's id the attack that found it.

    Raises:
        RunError: the ledger is missing or damaged, or has no such image.
    """
    if not path.is_file():
        raise RunError(f"{path} not found: it holds the adversarial images; {AGAIN}")
    found: dict[int, bytes] = {}
    try:
        with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)) as db:
            for number, attack in images.items():
                # The last row is of the newest code. The name of a curve's search begins with the attack.
                there = db.execute(
                    "SELECT image, digests.example, key FROM examples JOIN digests USING (key, image_id) "
                    "WHERE image_id = ? AND substr(key, 1, ?) = ? ORDER BY examples.rowid",
                    (number, len(start := f"{key}/{attack}"), start),
                ).fetchall()
                rows = [row for row in there if _CODE.fullmatch(str(row[2])[len(start) :])]
                if not rows or row_digest(rows[-1][0]) != rows[-1][1]:
                    raise RunError(f"{path}: the adversarial image of image {number} is damaged; {AGAIN}")
                found[number] = rows[-1][0]
    except (sqlite3.DatabaseError, UnicodeDecodeError) as error:
        raise explained(error, path) from error
    return found
