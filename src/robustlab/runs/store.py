"""A run on disk: resumable, safe against a kill at any moment, owned by one process at a time.

run.json            whose folder this is (written first)
ledger.sqlite       finished stages, one row per image and measurement, and the adversarial images found
models/             weights, a card beside each
arrays/             pictures for the report
images.csv          an evaluation's verdict on each image
results.json        every figure
manifest.json       what was asked and what it was resolved to (written last: present = complete)
report.html, report.md, figures/, .figures.json (the hashes of the figures)
"""

import json
import re
import sqlite3
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Self

import filelock

from robustlab.core.errors import OutputError, RunError
from robustlab.core.files import writing
from robustlab.runs.ledger import TABLES, Outcome, StageRecord, drop_older_tables, row_digest
from robustlab.runs.ledger_errors import explained
from robustlab.runs.owner import Owner, check_owner, write_owner

_RECORD = "/record"
"""The suffix of a stage's key in the table of digests, which also has the rows of measurements under that
key."""

_LONGEST = 1e9
"""In seconds; longer times are cut to this."""

_FILE_NAME = re.compile(r"\w{1,100}")
"""A valid name of a file of arrays; a damaged ledger may contain any other."""


class RunStore:
    """The folder of one run; use as a context manager, which locks it.

    Args:
        folder: created if absent.
        owner: the study or evaluation to which the folder belongs, or its name.
        overwrite: replace another run of the same kind; its results are removed.

    Raises:
        RunError: the folder belongs to another run or a newer robustlab, is not a run folder, or is in use;
            or a link in it leads out of it.
        OutputError: the folder can't be written.
    """

    def __init__(self, folder: Path, owner: Owner | str, *, overwrite: bool = False) -> None:
        self.folder, self.overwrite = folder, overwrite
        self.owner = Owner(name=owner) if isinstance(owner, str) else owner
        self._lock = filelock.FileLock(folder / ".lock")
        self._db: sqlite3.Connection | None = None
        self._ledger: tuple[int, int] | None = None

    def __enter__(self) -> Self:
        check_owner(self.folder, self.owner, overwrite=self.overwrite)
        with writing(self.folder):
            self.folder.mkdir(parents=True, exist_ok=True)
            try:
                self._lock.acquire(timeout=0)
            except filelock.Timeout:
                raise RunError(
                    f"another process is working in {self.folder}; wait for it, "
                    "or choose another folder with --out"
                ) from None
        try:
            # Again: another process may have run in the meantime.
            earlier = check_owner(self.folder, self.owner, overwrite=self.overwrite)
            if earlier is None:
                write_owner(self.folder, self.owner)
            elif earlier.other_than(self.owner):
                self.reopen("results.json", "images.csv")
                write_owner(self.folder, self.owner)
            with self._database():
                pass
        except BaseException:
            self._close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._close()

    def _close(self) -> None:
        if self._db is not None:
            self._db.close()
            self._db = None
        self._lock.release()

    @contextmanager
    def _database(self) -> Iterator[sqlite3.Connection]:
        """Open a transaction; a failure inside it is rolled back."""
        path = self.folder / "ledger.sqlite"
        try:
            if self._db is None:
                self._db = sqlite3.connect(path)
                self._db.execute("PRAGMA journal_mode=WAL")
                self._db.execute("PRAGMA synchronous=NORMAL")
                drop_older_tables(self._db)
                self._db.executescript(TABLES)
                self._ledger = _inode(path)
            self._check_in_place()
            with self._db:
                yield self._db
        except (sqlite3.DatabaseError, UnicodeDecodeError) as error:  # SQLite's messages quote the file
            raise explained(error, path) from error

    def _check_in_place(self) -> None:
        # SQLite continues to write into a removed file, without an error.
        path = self.folder / "ledger.sqlite"
        if _inode(path) != self._ledger:
            raise OutputError(
                f"{path} was removed or replaced while the run was working in its folder; "
                "run the same command again"
            )

    @property
    def complete(self) -> bool:
        """Whether the folder holds a finished run."""
        return (self.folder / "manifest.json").exists()

    def reopen(self, *more: str) -> None:
        """Mark the run as incomplete, before anything in it changes; its report is removed.

        Args:
            more: other files to remove.
        """
        if self._db is not None:
            self._check_in_place()
        with writing(self.folder):
            for name in ("manifest.json", "report.html", "report.md", *more):
                (self.folder / name).unlink(missing_ok=True)

    # Stages

    def stage(self, key: str) -> StageRecord | None:
        """Return the record of a finished stage, or None, also if it differs from what was written."""
        with self._database() as db:
            row = db.execute("SELECT name, payload, seconds FROM stages WHERE key = ?", (key,)).fetchone()
            digests = self._digests(db, key + _RECORD, 0, 0)
        if row is None or digests != {0: (row_digest(key, *row), None)}:
            return None
        return StageRecord(key=key, name=row[0], payload=json.loads(row[1]), seconds=row[2])

    def start_stage(self, key: str, name: str) -> None:
        """Note that work on a stage begins."""
        with self._database() as db:
            db.execute("INSERT INTO events (key, name, event) VALUES (?, ?, 'started')", (key, name))

    def finish_stage(self, record: StageRecord) -> None:
        """Record a finished stage."""
        with self._database() as db:
            values = (record.key, record.name, json.dumps(record.payload), record.seconds + 0.0)
            db.execute("INSERT OR REPLACE INTO stages VALUES (?, ?, ?, ?)", values)
            digest = (record.key + _RECORD, 0, row_digest(*values), None)
            db.execute("INSERT OR REPLACE INTO digests VALUES (?, ?, ?, ?)", digest)
            db.execute("INSERT INTO events (key, name, event) VALUES (?, ?, 'finished')", values[:2])

    def events(self) -> list[tuple[str, str, str]]:
        """Return (key, stage name, ``"started"`` or ``"finished"``) in the order they happened."""
        with self._database() as db:
            return db.execute("SELECT key, name, event FROM events ORDER BY id").fetchall()

    def keep_only(self, keys: Iterable[str]) -> None:
        """Remove records, ledger rows and arrays of stages that no longer belong to the run."""
        wanted, tables = set(keys), ("stages", "outcomes", "examples", "blocks", "digests")
        with self._database() as db:
            keys_there = {
                key for table in tables for (key,) in db.execute(f"SELECT DISTINCT key FROM {table}")
            }
            stale = {key for key in keys_there if str(key).split("/")[0] not in wanted}
            # The ledger determines which files belong to the run; others are not touched.
            with writing(self.folder / "arrays"):
                names = {key.split("/")[0] for key in stale if isinstance(key, str)}
                for name in filter(_FILE_NAME.fullmatch, names):
                    self.array_path(name).unlink(missing_ok=True)
            for table in tables:
                db.executemany(f"DELETE FROM {table} WHERE key = ?", [(key,) for key in stale])

    # The ledger

    def add_outcomes(
        self,
        key: str,
        outcomes: Iterable[Outcome],
        examples: Mapping[int, bytes] | None = None,
        seconds: float = 0.0,
    ) -> None:
        """Add a block of rows in one transaction.

        Args:
            key: the key of the measurement.
            outcomes: one per image.
            examples: perturbed images by image id, as bytes, in the caller's format.
            seconds: the time of the block.
        """
        rows = {outcome.image_id: outcome.values() for outcome in outcomes}
        images = {number: (image, row_digest(image)) for number, image in (examples or {}).items()}
        digests = [
            (key, number, row_digest(key, *row, digest), digest)
            for number, row in rows.items()
            for _, digest in [images.get(number, (b"", None))]
        ]
        with self._database() as db:
            db.executemany(
                "INSERT OR REPLACE INTO outcomes VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                [(key, *row) for row in rows.values()],
            )
            db.executemany(
                "INSERT OR REPLACE INTO examples VALUES (?, ?, ?)",
                [(key, number, image) for number, (image, _) in images.items()],
            )
            db.executemany("INSERT OR REPLACE INTO digests VALUES (?, ?, ?, ?)", digests)
            db.execute(
                "INSERT INTO blocks (key, images, seconds) VALUES (?, ?, ?)", (key, len(rows), seconds)
            )

    def outcomes(self, key: str, image_ids: Collection[int] | None = None) -> list[Outcome]:
        """Return the rows of a measurement in the order of the images' ids: all, or those of some images.

        A row that differs from what was written, or whose example is missing, is left out, so that it is
        measured again.
        """
        wanted = (key, -(2**63), 2**63 - 1)
        if image_ids is not None:
            wanted = (key, min(image_ids, default=0), max(image_ids, default=-1))
        where = "WHERE key = ? AND image_id BETWEEN ? AND ?"
        with self._database() as db:
            rows_there = db.execute(
                "SELECT image_id, label, prediction, confidence, distance, forwards, backwards, restart, "
                f"success FROM outcomes {where} ORDER BY image_id",
                wanted,
            ).fetchall()
            digests = self._digests(db, *wanted)
            stored = {number for (number,) in db.execute(f"SELECT image_id FROM examples {where}", wanted)}
        names = tuple(Outcome.__dataclass_fields__)
        rows = []
        for row in rows_there if image_ids is None else (row for row in rows_there if row[0] in image_ids):
            digest, example = digests.get(row[0], (b"", None))
            if digest == row_digest(key, *row, example) and (example is None or row[0] in stored):
                rows.append(Outcome(**dict(zip(names, row, strict=True))))
        return rows

    def examples(self, key: str, image_ids: Iterable[int]) -> dict[int, bytes]:
        """Return the perturbed images that were stored with a measurement, those of the given ids.

        Raises:
            RunError: an image is missing, or differs from what was written; its row is removed, so that the
                next run measures it again.
        """
        images, damaged = {}, []
        with self._database() as db:
            for number in image_ids:
                row = db.execute(
                    "SELECT examples.image, digests.example FROM examples JOIN digests USING (key, image_id) "
                    "WHERE key = ? AND image_id = ?",
                    (key, number),
                ).fetchone()
                if row and row[1] == row_digest(row[0]):
                    images[number] = row[0]
                else:
                    damaged.append(number)
        if damaged:
            self.forget(key, damaged)
            raise RunError(
                f"{self.folder / 'ledger.sqlite'}: the adversarial image of image {damaged[0]} is damaged; "
                "run the same command again: it will be looked for once more"
            )
        return images

    def drop_examples(self, dropped: Mapping[str, Collection[int]]) -> None:
        """Drop the perturbed images of some ids, by the key of their measurement; their rows stay."""
        with self._database() as db:
            before = db.total_changes
            for key, ids in dropped.items():
                db.executemany(
                    "UPDATE examples SET image = x'' WHERE key = ? AND image_id = ? AND image != x''",
                    [(key, number) for number in ids],
                )
            changed = db.total_changes > before
        if changed:
            with writing(self.folder), self._database() as db:
                db.commit()  # SQLite can't shrink its file inside a transaction
                db.execute("VACUUM")

    def dropped_examples(self, key: str) -> set[int]:
        """Return the ids of the images of a measurement whose perturbed images were dropped."""
        with self._database() as db:
            rows = db.execute("SELECT image_id FROM examples WHERE key = ? AND image = x''", (key,))
            return {number for (number,) in rows.fetchall()}

    def forget(self, key: str, image_ids: Iterable[int]) -> None:
        """Remove rows of a measurement, so that they are measured again."""
        with self._database() as db:
            db.executemany(
                "DELETE FROM outcomes WHERE key = ? AND image_id = ?", [(key, number) for number in image_ids]
            )

    @contextmanager
    def temporarily(self, prefix: str) -> Iterator[None]:
        """Remove, after the block, the measurements whose keys have a prefix before their slash.

        If some of these rows exist already when the block begins, all stay.
        """
        where, keys = "WHERE key > ? AND key < ?", (f"{prefix}/", f"{prefix}0")
        with self._database() as db:
            known = db.execute(f"SELECT 1 FROM outcomes {where} LIMIT 1", keys).fetchone()
        yield
        if known is None:
            with self._database() as db:
                for table in ("outcomes", "examples", "blocks", "digests"):
                    db.execute(f"DELETE FROM {table} {where}", keys)

    def seconds(self, key: str) -> float:
        """Return the seconds of all blocks of a measurement, over all runs."""
        with self._database() as db:
            (total,) = db.execute("SELECT TOTAL(seconds) FROM blocks WHERE key = ?", (key,)).fetchone()
        return min(max(float(total), 0.0), _LONGEST)

    def effort(self, key: str) -> float:
        """Return the passes of all rows of a measurement, and one for each row, damaged or not."""
        with self._database() as db:
            total = "SELECT TOTAL(1 + forwards + backwards) FROM outcomes WHERE key = ?"
            return float(db.execute(total, (key,)).fetchone()[0])

    def _digests(
        self, db: sqlite3.Connection, key: str, first: int, last: int
    ) -> dict[int, tuple[bytes, bytes | None]]:
        """Return by image id the digest of each row, and of the example that was stored with it."""
        digests = db.execute(
            "SELECT image_id, row, example FROM digests WHERE key = ? AND image_id BETWEEN ? AND ?",
            (key, first, last),
        )
        return {number: (row, example) for number, row, example in digests}

    # Files

    def model_path(self, name: str) -> Path:
        """Return the path of a network's weights."""
        return self.folder / "models" / f"{name}.safetensors"

    def array_path(self, key: str) -> Path:
        """Return the path of a stage's arrays."""
        return self.folder / "arrays" / f"{key}.safetensors"


def _inode(path: Path) -> tuple[int, int] | None:
    """Return the identity of a file; None if it does not exist."""
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_dev, status.st_ino
