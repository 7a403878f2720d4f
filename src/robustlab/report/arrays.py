"""Reads the arrays of pictures that a run's results name."""

from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load_file

from robustlab.core.errors import RunError

Pictures = NDArray[np.uint8]

_AGAIN = "run the study again with the same --out to restore it"


class Arrays:
    """The pictures beside a results.json, read when they are asked for."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._load = cache(load_file)

    def pictures(self, file: str, name: str) -> Pictures:
        """Return an array of pictures, uint8 (M, C, H, W).

        Raises:
            RunError: the file is missing or damaged, or holds no such array.
        """
        path = self._folder / file
        try:
            arrays = self._load(path)
        except FileNotFoundError:
            raise RunError(f"{path} is missing, although results.json names it; {_AGAIN}") from None
        except (OSError, SafetensorError) as error:
            raise RunError(f"{path} cannot be read ({error}); {_AGAIN}") from error
        array = arrays.get(name)
        if array is None or array.dtype != np.uint8 or array.ndim != 4:
            raise RunError(f"{path} holds no uint8 pictures named {name!r}; {_AGAIN}")
        return array
