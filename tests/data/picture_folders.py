"""Folders of small pictures for tests."""

import threading
import weakref
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from robustlab.data.pictures import Pictures


def write_pictures(
    folder: Path,
    classes: Sequence[str],
    n: int,
    *,
    size: tuple[int, int] | Callable[[int], tuple[int, int]] = (9, 7),
    suffix: str = "png",
    seed: int = 0,
) -> Path:
    """Write n random pictures (width, height) into the folder of each class."""
    draw = np.random.default_rng(seed)
    for name in classes:
        (folder / name).mkdir(parents=True, exist_ok=True)
        for number in range(n):
            width, height = size if isinstance(size, tuple) else size(number)
            values = draw.integers(0, 256, (height, width, 3), dtype=np.uint8)
            Image.fromarray(values).save(folder / name / f"{number:03}.{suffix}")
    return folder


class Decoding:
    """Counts what is decoded, and the most decoded pictures that were alive at once."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.places: list[int] = []
        self.alive = self.most = 0
        lock, decoded = threading.Lock(), Pictures.decoded

        def gone() -> None:
            with lock:
                self.alive -= 1

        def counted(source: Pictures, place: int) -> object:
            image = decoded(source, place)
            with lock:
                self.places.append(place)
                self.alive += 1
                self.most = max(self.most, self.alive)
            weakref.finalize(image, gone)
            return image

        monkeypatch.setattr(Pictures, "decoded", counted)
