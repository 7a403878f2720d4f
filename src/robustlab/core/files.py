"""Writes files so that a crash leaves either the old file or the new one; explains errors."""

import errno
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

from robustlab.core.errors import OutputError

_REASONS = {
    errno.ENOSPC: "the disk is full",
    errno.EDQUOT: "the disk quota is used up",
    errno.EFBIG: "the file would exceed the largest size allowed here",
    errno.EACCES: "permission denied",
    errno.EPERM: "permission denied",
    errno.EROFS: "the file system is read-only",
    errno.ENOENT: "its folder does not exist (any more)",
    errno.ENOTDIR: "a part of the path is a file, not a folder",
    errno.EEXIST: "a file of that name is in the way",
    errno.EISDIR: "it is a folder",
    errno.ENAMETOOLONG: "the name is too long",
}


def reason(error: OSError) -> str:
    """Return in a few words why the operating system refused."""
    return _REASONS.get(error.errno or 0, error.strerror or str(error))


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Turn any operating-system error inside the block into an `OutputError` about ``path``."""
    try:
        yield
    except OSError as error:
        gone = error.errno in {errno.ENOENT, errno.ENOTDIR}
        kept = "" if gone else "What was finished before is kept; make room or "
        advice = f"{kept}choose another folder with --out, then run the same command again"
        raise OutputError(f"cannot write {path}: {reason(error)}. {advice[0].upper()}{advice[1:]}") from error


def part_of(path: Path) -> Path:
    """Return the temporary name of a file while it is written; no user gives a file such a name."""
    return path.with_name(f".{path.name}.robustlab-part")


@contextmanager
def replacing(path: Path) -> Iterator[BinaryIO]:
    """Yield a new file beside ``path``; after the block it is flushed to the disk and replaces ``path``.

    The file is a new one even if a killed run left one, or a link has its name. A link at ``path`` itself is
    replaced, and its target does not change.
    """
    part = part_of(path)
    part.unlink(missing_ok=True)
    try:
        with part.open("xb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
    except BaseException:
        part.unlink(missing_ok=True)
        raise


def write_bytes(path: Path, content: bytes) -> None:
    """Write a temporary file, flush it to the disk and rename it to ``path``. Its folder must exist.

    Raises:
        OutputError: the disk is full, or the folder is missing or not writable.
    """
    with writing(path), replacing(path) as file:
        file.write(content)


def write_text(path: Path, content: str) -> None:
    """Write a UTF-8 text file as `write_bytes` does."""
    write_bytes(path, content.encode())


def write_as_named(name: str, content: str) -> None:
    """Write a text file that the user named, as `write_bytes` does; an error names no other option."""
    path = Path(name)
    try:
        if path.is_dir():
            raise IsADirectoryError(errno.EISDIR, "")
        with replacing(path) as file:
            file.write(content.encode())
    except OSError as error:
        raise OutputError(f"cannot write {name}: {reason(error)}; name another file") from error


def write_json(path: Path, content: Any) -> None:
    """Write an indented JSON file as `write_bytes` does."""
    write_text(path, json.dumps(content, indent=2, ensure_ascii=False) + "\n")
