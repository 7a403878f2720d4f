"""Pictures that are decoded as they are needed, a few ahead."""

import hashlib
import os
from abc import abstractmethod
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from robustlab.core.errors import DataError
from robustlab.data.resizing import Resizing
from robustlab.data.source import ImageSource

if TYPE_CHECKING:
    from PIL.Image import Image

_AHEAD = 64
"""The most pictures that are decoded before somebody asks for them."""


class Pictures(ImageSource):
    """Encoded pictures of one size after `Resizing`; a few threads decode them.

    While pictures are read in order, those that follow are decoded ahead.

    Args:
        order: (N,) the places in the order in which they will be read.
        size: (height, width) of each picture.
    """

    def __init__(self, order: Tensor, size: tuple[int, int], resizing: Resizing) -> None:
        self.resizing, self.shape = resizing, (len(order), resizing.channels, *size)
        self._order = order
        self._ahead: dict[int, Future[Tensor]] = {}

    @abstractmethod
    def title(self, place: int) -> str:
        """Return the name of a picture, for messages."""

    @abstractmethod
    def picture(self, place: int) -> "Image":
        """Return a picture; its values may still be encoded.

        Raises:
            OSError: it can't be read.
        """

    @abstractmethod
    def contents(self) -> Iterator[bytes]:
        """Yield what all pictures depend on, such as the content of their files, for the hash."""

    def decoded(self, place: int) -> Tensor:
        """Return a picture as uint8 (C, H, W), or raise a `DataError` that names it."""
        try:
            with self.picture(place) as picture:
                image = self.resizing.tensor(picture)
        except DataError as error:
            raise DataError(f"{self.title(place)}: {error}") from None
        except (OSError, SyntaxError, ValueError, EOFError) as error:  # what Pillow raises for broken files
            raise DataError(f"{self.title(place)} can't be decoded: {error}") from None
        if image.shape != self.shape[1:]:
            found, wanted = ("x".join(map(str, size[:0:-1])) for size in (image.shape, self.shape[1:]))
            raise DataError(f"{self.title(place)} has {found} pixels, the others {wanted}; {SAME_SIZE}")
        return image

    def rows(self, places: Tensor) -> Tensor:
        wanted, ahead = places.tolist(), self._ahead
        pictures = [
            ahead.pop(place) if place in ahead else self._pool.submit(self.decoded, place) for place in wanted
        ]
        for other in ahead.values():
            other.cancel()
        self._ahead = {place: self._pool.submit(self.decoded, place) for place in self._next(wanted)}
        return torch.stack([picture.result() for picture in pictures])

    def sha256(self) -> str:
        return self._sha256

    @cached_property
    def _sha256(self) -> str:
        import PIL

        digest = hashlib.sha256(f"{self.resizing!r} {self.shape} {PIL.__version__}".encode())
        for content in self.contents():
            digest.update(hashlib.sha256(content).digest())
        return digest.hexdigest()

    def _next(self, wanted: list[int]) -> list[int]:
        """Return the places that will be wanted next, if these are some in a row of the order."""
        first, count = int(self._rank[wanted[0]]), len(wanted)
        if self._order[first : first + count].tolist() != wanted:
            return []
        return self._order[first + count : first + count + min(count, _AHEAD)].tolist()

    @cached_property
    def _rank(self) -> Tensor:
        return self._order.argsort()

    @cached_property
    def _pool(self) -> ThreadPoolExecutor:
        return ThreadPoolExecutor(min(4, os.cpu_count() or 1), thread_name_prefix="pictures")

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self).items() if name != "_pool"} | {"_ahead": {}}


SAME_SIZE = "give crop, or resize=(height, width), which bring all pictures to one size"


class PictureFiles(Pictures):
    """Pictures in files."""

    def __init__(self, paths: Sequence[Path], order: Tensor, resizing: Resizing) -> None:
        self.paths = paths
        super().__init__(order, common_size(paths, resizing), resizing)

    def title(self, place: int) -> str:
        return str(self.paths[place])

    def picture(self, place: int) -> "Image":
        from PIL import Image

        return Image.open(self.paths[place])

    def contents(self) -> Iterator[bytes]:
        for path in self.paths:
            try:
                yield path.read_bytes()
            except OSError as error:
                raise DataError(f"{path} can't be read: {error}") from None


def common_size(paths: Sequence[Path], resizing: Resizing) -> tuple[int, int]:
    """Return the (height, width) of all pictures; of different ones only the headers are read.

    Raises:
        DataError: two pictures have different sizes, or a file holds no picture.
    """
    from PIL import Image, UnidentifiedImageError

    sizes: dict[tuple[int, int], Path] = {}
    for path in paths[:1] if resizing.fixed else paths:
        try:
            with Image.open(path) as picture:
                sizes.setdefault(resizing.size(*picture.size), path)
        except UnidentifiedImageError:
            raise DataError(f"{path} is not a picture, or is broken; replace it or move it away") from None
        except OSError as error:
            raise DataError(f"{path} can't be read: {error}") from None
        except DataError as error:
            raise DataError(f"{path}: {error}") from None
        if len(sizes) > 1:
            (one, first), (other, second) = sizes.items()
            raise DataError(
                f"pictures have different sizes: {first.name} {one[1]}x{one[0]}, {second.name} "
                f"{other[1]}x{other[0]} pixels; {SAME_SIZE}"
            )
    return next(iter(sizes))
