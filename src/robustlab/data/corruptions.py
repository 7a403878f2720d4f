"""What the benchmarks of common corruptions share: a file or a folder for each corruption."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from robustlab.core.errors import DataError, did_you_mean, offer
from robustlab.core.text import shown


def chosen(folder: Path, name: str, what: str = "corruption", suffix: str = "") -> Path:
    """Return the file or folder of a corruption.

    Raises:
        DataError: there is none; the message names those that there are.
    """
    if not folder.is_dir():
        raise DataError(f"{folder} is a file; expected a folder")
    known = sorted(
        path.stem if suffix else path.name
        for path in folder.iterdir()
        if (path.suffix == suffix if suffix else path.is_dir())
    )
    known = [one for one in known if one != "labels" and not one.startswith(".")]
    if name not in known:
        options = offer(known) if known else "it has none"
        raise DataError(f"{folder} has no {what} {shown(name)}{did_you_mean(name, known)}; {options}")
    return folder / f"{name}{suffix}"


def array_in(path: Path) -> NDArray[np.generic]:
    """Return the array in an .npy file; its values are read when they are used.

    Raises:
        DataError: the file does not exist or holds no such array.
    """
    try:
        content: NDArray[np.generic] = np.load(path, mmap_mode="r", allow_pickle=False)
    except FileNotFoundError:
        raise DataError(f"{path} does not exist") from None
    except (OSError, EOFError) as error:
        raise DataError(f"{path} can't be read: {error}") from None
    except ValueError:  # NumPy advises to unpickle it
        raise DataError(f"{path} is not an .npy file of plain numbers") from None
    return content
