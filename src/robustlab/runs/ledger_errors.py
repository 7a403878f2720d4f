"""Explains why SQLite could not read or write the ledger, and what to do."""

import sqlite3
from pathlib import Path

from robustlab.core.errors import OutputError, RobustlabError, RunError

_KEPT = "what was finished before is kept; then run the same command again"

_REASONS = {
    "FULL": f"the disk is full. Make room: {_KEPT}",
    "IOERR": f"the disk failed, is full, or limits the size of files. Mend that: {_KEPT}",
    "READONLY": f"it is read-only. Allow writing to it and its folder: {_KEPT}",
    "PERM": f"permission denied. Allow writing to it and its folder: {_KEPT}",
    "BUSY": f"another program keeps it locked. Close that program: {_KEPT}",
    "LOCKED": f"another program keeps it locked. Close that program: {_KEPT}",
    "NOLFS": f"the file system allows no larger file. Choose another folder with --out; {_KEPT}",
    "NOMEM": f"memory ran out. Free some: {_KEPT}",
}
"""Texts by the first part of SQLite's error names (https://sqlite.org/rescode.html)."""


def explained(error: sqlite3.DatabaseError | UnicodeDecodeError, path: Path) -> RobustlabError:
    """Return the error to raise: `OutputError` if the system refused, `RunError` for a damaged file."""
    name = str(getattr(error, "sqlite_errorname", "")).removeprefix("SQLITE_")
    kind = name.partition("_")[0]
    if kind in {*_REASONS, "CANTOPEN"} and not path.parent.is_dir():
        return OutputError(f"cannot write {path}: its folder was removed; run the same command again")
    if kind in _REASONS:
        return OutputError(f"cannot write {path}: {_REASONS[kind]}")
    if kind == "CANTOPEN":
        why = "it is a folder" if path.is_dir() else "it can't be opened; permission may be missing"
        return OutputError(f"cannot write {path}: {why}. Mend that, or choose another folder with --out")
    return RunError(f"{path} is damaged ({error}); move it away to start the run again")
