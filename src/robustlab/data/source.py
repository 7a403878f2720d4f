"""Images outside memory: they are read from files, or computed, on request."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from robustlab.core.calling import calling
from robustlab.core.errors import DataError, RobustlabError
from robustlab.core.inputs import split_images

_BLOCK = 1 << 24
"""Values that are read in one block: 64 MB of float32."""


class ImageSource(ABC):
    """A source of images outside memory; a subclass defines how to read some of them."""

    shape: tuple[int, ...] = ()
    """(N, C, H, W)."""
    dtype: torch.dtype = torch.uint8
    """``torch.uint8`` for values in 0..255; ``torch.float32`` on the pixel scale [0, 1]."""

    @abstractmethod
    def rows(self, places: Tensor) -> Tensor:
        """Return the images (n, C, H, W) at places (n,) int64 in 0..N-1, in that order, on the CPU.

        A place must give the same image each time. Any error becomes a `DataError` with the image's id.
        """

    def sha256(self) -> str:
        """Return a hash that changes with any pixel, also if files are cropped or resized in another way.

        The keys of stored results contain it. If it is empty (the default), robustlab reads all images of a
        split to compute a hash.
        """
        return ""


@dataclass(frozen=True, eq=False)
class LazyImages:
    """Images of a source; only `read` and `hashed` read them.

    Attributes:
        source: the source of the images.
        places: (n,) int64, the images' places in the source.
        turn: converts each block (n, C, H, W) to uint8, if given.
    """

    source: ImageSource
    places: Tensor
    turn: Callable[[Tensor], Tensor] | None = None

    @classmethod
    def of(cls, source: ImageSource) -> "LazyImages":
        """Return all images of a source, or raise a `DataError` if they can't have its shape or dtype."""
        shape, dtype = source.shape, source.dtype
        if len(shape) != 4 or 0 in shape[1:] or dtype not in {torch.uint8, torch.float32}:
            accepted = "a source of images must have shape (N, C, H, W) and dtype uint8 or float32"
            raise DataError(f"{accepted}, found {shape} and {dtype}")
        return cls(source, torch.arange(shape[0]))

    @property
    def shape(self) -> torch.Size:
        return torch.Size((len(self.places), *self.source.shape[1:]))

    @property
    def dtype(self) -> torch.dtype:
        return self.source.dtype if self.turn is None else torch.uint8

    def __getitem__(self, rows: Tensor | slice) -> "LazyImages":
        return replace(self, places=self.places[rows.cpu() if isinstance(rows, Tensor) else rows])

    def read(self, ids: Tensor) -> Tensor:
        """Return the images as a new tensor on the CPU; ``ids`` (n,) name them in messages.

        Raises:
            DataError: an image can't be read, or has not the source's shape, type or range.
        """
        images = torch.empty(self.shape, dtype=self.dtype)
        for start, block in self._blocks(ids):
            images[start : start + len(block)] = block
        return images

    def hashed(self, ids: Tensor) -> Iterable[Tensor]:
        """Yield the content for a hash of the images: their source's hash and the places, or all values."""
        with calling("the source of the images"):
            known = list(self.source.sha256().encode())
        return (torch.tensor(known), self.places) if known else (block for _, block in self._blocks(ids))

    def _blocks(self, ids: Tensor) -> Iterator[tuple[int, Tensor]]:
        size = max(1, _BLOCK // self.shape[1:].numel())
        for start in range(0, len(self.places), size):
            yield start, self._block(self.places[start : start + size], ids[start : start + size].tolist())

    def _block(self, places: Tensor, ids: list[int]) -> Tensor:
        try:
            with calling("the source of the images"):
                given = self.source.rows(places)
            images, wanted = split_images(given, ids).detach().cpu(), (len(places), *self.shape[1:])
            if images.shape != wanted or images.dtype != self.source.dtype:
                actual = f"{images.dtype} of shape {tuple(images.shape)}"
                raise DataError(f"its source promised {self.source.dtype} of shape {wanted}, found {actual}")
            return images if self.turn is None else self.turn(images)
        except RobustlabError as error:
            if len(ids) == 1:
                raise DataError(f"image {ids[0]} can't be used: {error}") from error
        # One by one, so that the error names the image.
        return torch.cat([self._block(places[row : row + 1], [ids[row]]) for row in range(len(ids))])
