"""The owner of a run's folder: ``run.json``, which is written first; and the check for links."""

import os
import re
import stat
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from robustlab.core.errors import RunError
from robustlab.core.files import part_of, write_json
from robustlab.core.text import respelled
from robustlab.core.untrusted import read_json

STORE_VERSION = 2
"""The version of the folder's format. Format 1 did not record an identity."""

EVALUATION = "evaluation of "
"""How the name of an evaluation begins; one that begins in none of these ways is a study's."""

CERTIFICATES = "certificates of "
"""How the name of a search for certificates begins."""

TRAINING = "training of a network"
"""The name of every training; what it is of is in the identity."""

_FOLDERS = ("arrays", "figures", "models", "evaluations")
# Written in place; all other files are written beside their place and renamed.
_IN_PLACE = (".lock", *(f"ledger.sqlite{end}" for end in ("", "-wal", "-shm", "-journal")))
_SHOWN = 3


@dataclass(frozen=True, kw_only=True)
class Owner:
    """The study or evaluation that a folder belongs to.

    Attributes:
        name: of the study, ``"evaluation of <name>"`` or ``"certificates of <name>"``.
        identity: the other values that distinguish runs, by name; None: not recorded, or any value.
    """

    name: str
    identity: Mapping[str, str] | None = None

    @property
    def kind(self) -> str:
        """A study or an evaluation, in words."""
        if self.name == TRAINING:
            return "a training"
        if self.name.startswith(CERTIFICATES):
            return "a search for certificates"
        return "an evaluation" if self.name.startswith(EVALUATION) else "a study"

    def other_than(self, wanted: "Owner") -> str:
        """Return the differences from another owner as text; empty if they are the same."""
        if self.name != wanted.name:
            return f"belongs to {_quoted(self.name)}, not to {_quoted(wanted.name)}"
        if wanted.identity is None:
            return ""
        if self.identity is None:
            return "was written by an earlier robustlab, which did not record what it was run on"
        parts = [
            f"{name.replace('_', ' ')} {_short(self.identity.get(name, 'unknown'))}, not {_short(value)}"
            for name, value in wanted.identity.items()
            if self.identity.get(name) != value
        ]
        more = f"; and {len(parts) - _SHOWN} more" if len(parts) > _SHOWN else ""
        return f"holds {self.kind} of other settings: {'; '.join(parts[:_SHOWN])}{more}" if parts else ""


def read_owner(folder: Path) -> Owner | None:
    """Return the owner of a folder, None if the folder is absent or empty.

    Raises:
        RunError: the folder is not a run's, or its format is that of a newer robustlab.
    """
    if folder.exists() and not folder.is_dir():
        raise RunError(f"{folder} is a file; a run needs a folder of its own")
    path = folder / "run.json"
    if not path.exists():
        # A run that was killed at its start leaves only these two.
        leftovers = {".lock", part_of(path).name}
        if folder.exists() and any(found.name not in leftovers for found in folder.iterdir()):
            raise RunError(f"{folder} is not empty and holds no run; choose another folder with --out")
        return None
    try:
        content = read_json(path)
        version, name = int(content["store_version"]), str(content["study"])
        identity = content.get("identity")
        parts = None if identity is None else {str(key): str(value) for key, value in identity.items()}
        if parts and "threat" in parts:  # an older robustlab wrote an eps of 8/255 as a decimal
            parts["threat"] = respelled(parts["threat"])
    except (ValueError, KeyError, TypeError, AttributeError, OSError) as error:
        raise RunError(f"{path} can't be read ({error}); choose another folder with --out") from None
    if version > STORE_VERSION:
        raise RunError(
            f"{folder} was written by a newer robustlab (format {version}, this one reads up to "
            f"{STORE_VERSION}); upgrade robustlab, or choose another folder with --out"
        )
    return Owner(name=name, identity=parts)


def check_owner(folder: Path, wanted: Owner, *, overwrite: bool = False) -> Owner | None:
    """Check that a run may use a folder; return its owner, None if it has none yet.

    Args:
        folder: absent, empty, or the folder of a run.
        wanted: the owner that it must have.
        overwrite: whether another run of the same kind may be overwritten.

    Raises:
        RunError: the folder has another owner or is not a run's, or a link in it leads out of it.
    """
    owned_by = read_owner(folder)
    refuse_links(folder)
    if owned_by is not None and (difference := owned_by.other_than(wanted)):
        if owned_by.kind != wanted.kind:
            raise RunError(f"{folder} {difference}; choose another folder with --out")
        if not overwrite:
            raise RunError(
                f"{folder} {difference}; choose another folder with --out, or replace it with --overwrite"
            )
    return owned_by


def write_owner(folder: Path, owner: Owner) -> None:
    """Write ``run.json``; a folder that can't be written is an `OutputError`."""
    identity = {} if owner.identity is None else {"identity": dict(owner.identity)}
    write_json(folder / "run.json", {"store_version": STORE_VERSION, "study": owner.name, **identity})


def refuse_links(folder: Path) -> None:
    """Refuse, with a `RunError`, a folder in which a subfolder, or a file written in place, is a link."""
    for name in (*_FOLDERS, *_IN_PLACE):
        try:
            status = os.lstat(folder / name)
        except OSError:
            continue
        # A hard link to the file would change with it.
        twice = stat.S_ISREG(status.st_mode) and status.st_nlink > 1
        if stat.S_ISLNK(status.st_mode) or twice:
            raise RunError(
                f"{folder / name} is a link; robustlab writes only inside the run's own folder: "
                "remove the link, or choose another folder with --out"
            )


def _quoted(name: str) -> str:
    """Return a study's or evaluation's name as text."""
    if name.startswith(EVALUATION):
        return f"an evaluation of {name.removeprefix(EVALUATION)!r}"
    if name.startswith(CERTIFICATES):
        return f"certificates of {name.removeprefix(CERTIFICATES)!r}"
    if name == TRAINING:
        return "a training"
    return f"study {name!r}"


def _short(value: str) -> str:
    """Return a short form of a value for a message: the start of a hash, the end of a path."""
    if re.fullmatch("[0-9a-f]{64}", value):
        return value[:12]
    return value if len(value) <= 40 else f"...{value[-37:]}"
