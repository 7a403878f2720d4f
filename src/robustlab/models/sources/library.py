"""What the sources of other libraries share: their import, their errors, and unknown names."""

import hashlib
import importlib
import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from robustlab.core.calling import in_one_line, is_ctrl_c, is_out_of_memory
from robustlab.core.errors import ModelFileError, RobustlabError, SetupError, did_you_mean, offer
from robustlab.core.text import shown


def imported(package: str, extra: str) -> Any:
    """Return a module of an optional package.

    Raises:
        SetupError: it can't be imported; the message has the command that installs it.
    """
    try:
        return importlib.import_module(package)
    except ModuleNotFoundError as error:
        missing = error.name or package
        raise SetupError(
            f"the package {missing} is not installed; type: pip install 'robustlab[{extra}]'"
        ) from None
    except Exception as error:  # an installation may be broken in any way
        raise SetupError(f"{package} can't be imported: {in_one_line(error)}") from error


@contextmanager
def loading(what: str, advice: str = "") -> Iterator[None]:
    """Turn an error of a library in the block, such as one of the network, into one sentence.

    Warnings of the library are not shown: they are about how the file was written.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    except BaseException as error:
        if isinstance(error, RobustlabError) or is_ctrl_c(error) or is_out_of_memory(error):
            raise
        more = f"; {advice}" if advice else ""
        raise SetupError(f"{what} could not be loaded: {in_one_line(error)}{more}") from error


def known(what: str, name: str, names: Iterable[str]) -> str:
    """Return a name that is one of those known.

    Raises:
        SetupError: it is not; the message has the most similar one.
    """
    names = list(names)
    if name not in names:
        raise SetupError(f"unknown {what} {shown(name)}{did_you_mean(name, names)}; {offer(names)}")
    return name


def file_of(path: str) -> Path:
    """Return the path of an existing file.

    Raises:
        ModelFileError: it does not exist, or is a folder.
    """
    file = Path(path)
    if not file.is_file():
        raise ModelFileError(f"{path} {'is a folder, not a file' if file.is_dir() else 'does not exist'}")
    return file


def hash_of_file(file: Path, part: str = "") -> str:
    """Return the SHA-256 of a file; of the file and a name, for a part of it."""
    return hash_of(file.read_bytes(), part)


def hash_of(content: bytes, part: str = "") -> str:
    """Return the SHA-256 of a content; of the content and a name, for a part of it."""
    found = hashlib.sha256(content)
    found.update(part.encode())
    return found.hexdigest()
