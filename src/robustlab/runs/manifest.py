"""manifest.json: the last file of a run. It holds the hashes of the files that hold the run's figures."""

import hashlib
import json
from pathlib import Path
from typing import Any

from robustlab.core.errors import RunError
from robustlab.core.files import write_json
from robustlab.core.untrusted import read_json

FILE = "manifest.json"
HASHED = ("run.json", "results.json", "images.csv")
AGAIN = "run the same command again with the same --out to restore it"


def write_manifest(folder: Path, content: dict[str, Any]) -> None:
    """Write a run's manifest with the hashes of its `HASHED` files; a failure is an `OutputError`."""
    hashes = {name: _hash((folder / name).read_bytes()) for name in HASHED if (folder / name).is_file()}
    hashes[FILE] = _of(content)
    write_json(folder / FILE, content | {"sha256": hashes})


def check_unchanged(path: Path) -> None:
    """Check that a file is as the run wrote it; runs of older versions without hashes are not checked.

    Args:
        path: one of the run's `HASHED` files, the caller has checked its size.

    Raises:
        RunError: the file was changed, or the manifest is damaged.
    """
    manifest = path.with_name(FILE)
    try:
        content = read_json(manifest)
        if not isinstance(content, dict):
            raise ValueError("it is not an object")
        hashes = content.pop("sha256", None)
        expected, own = (None, None) if hashes is None else (hashes.get(path.name), hashes.get(FILE))
    except FileNotFoundError:
        return
    except (OSError, ValueError, TypeError, AttributeError) as error:
        raise RunError(f"{manifest} is damaged ({error}); {AGAIN}") from None
    if hashes is None:
        return
    if own != _of(content):
        raise RunError(f"{manifest} was changed after the run; {AGAIN}")
    if not path.is_file() or expected != _hash(path.read_bytes()):
        raise RunError(f"{path} was changed after the run: its SHA-256 is not the one in {FILE}; {AGAIN}")


def is_sealed(folder: Path) -> bool:
    """Return whether a run's manifest exists, with the hashes for `check_unchanged`."""
    try:
        content = read_json(folder / FILE)
    except (OSError, ValueError):
        return False
    return isinstance(content, dict) and "sha256" in content


def _of(content: dict[str, Any]) -> str:
    """Return the SHA-256 of the manifest's own content."""
    return _hash(json.dumps(content, sort_keys=True).encode())


def _hash(content: bytes) -> str:
    """Return the SHA-256 of a text file, with the same line ends, which version control may change."""
    return hashlib.sha256(content.replace(b"\r\n", b"\n")).hexdigest()
