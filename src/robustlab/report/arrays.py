"""Reads the arrays of pictures that a run's results name."""

from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load_file

from robustlab.core.errors import RunError
from robustlab.core.text import shown
from robustlab.runs.manifest import AGAIN

Pictures = NDArray[np.uint8]
Images = NDArray[np.float32]


class Arrays:
    """The pictures beside a results.json, read on request."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._load: Callable[[Path], dict[str, NDArray[Any]]] = cache(load_file)

    def pictures(self, file: str, name: str) -> Pictures:
        """Return an array of pictures, uint8 (M, C, H, W); without it a `RunError`."""
        return self._array(file, name, "uint8 pictures", np.uint8)

    def images(self, file: str, name: str) -> Images:
        """Return images on the pixel scale, float32 (M, C, H, W); uint8 is divided by 255.

        Without them it is a `RunError`.
        """
        array = self._array(file, name, "images", np.uint8, np.float32)
        images: Images = array.astype(np.float32)
        return images / np.float32(255) if array.dtype == np.uint8 else np.nan_to_num(images).clip(0, 1)

    def _array(self, file: str, name: str, what: str, *dtypes: type[np.generic]) -> NDArray[Any]:
        path = self._folder / file
        if not path.resolve().is_relative_to(self._folder.resolve()):
            raise RunError(f"results.json is damaged: {shown(file)} is outside of {self._folder}; {AGAIN}")
        try:
            array = self._load(path).get(name)
        except FileNotFoundError:
            raise RunError(f"{path} is missing, although results.json names it; {AGAIN}") from None
        except (OSError, SafetensorError) as error:
            raise RunError(f"{path} cannot be read ({error}); {AGAIN}") from error
        if array is None or array.dtype not in dtypes or array.ndim != 4 or not array.size:
            raise RunError(f"{path} holds no {what} named {name!r}; {AGAIN}")
        return array
