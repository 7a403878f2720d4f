"""How many images go through a model at once; the number is halved when memory runs out."""

import gc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import torch
from torch import Tensor

from robustlab.core.arguments import check_whole
from robustlab.core.calling import is_out_of_memory
from robustlab.core.errors import RobustlabError

T = TypeVar("T")


class BatchSize:
    """A batch size that all its users share; it is halved permanently when memory runs out.

    Args:
        size: images per pass to begin with, at least 1.
        on_halved: called with the number that was too large, and the one that follows.
    """

    def __init__(self, size: int, on_halved: Callable[[int, int], None] | None = None) -> None:
        self._size, self._on_halved = size, on_halved

    def __int__(self) -> int:
        return self._size

    def __reduce__(self) -> tuple[type["BatchSize"], tuple[int]]:
        """A copy in another process has its own size, which is not shared."""
        return BatchSize, (self._size,)

    def halve(self, tried: int) -> None:
        """Halve the size after memory ran out with ``tried`` images, at least 2."""
        self._size = tried // 2
        gc.collect()
        if torch.cuda.is_initialized():  # type: ignore[no-untyped-call]
            torch.cuda.empty_cache()
        if self._on_halved:
            self._on_halved(tried, self._size)


def check_batch_size(size: Any) -> None:
    """Refuse a value that is neither a `BatchSize` nor a whole number of at least 1 with a `SpecError`."""
    if not isinstance(size, BatchSize):
        check_whole("batch_size", size, 1)


def in_batches(rows: Tensor, size: int | BatchSize, work: Callable[[Tensor], T]) -> list[T]:
    """Return what ``work`` returns for the rows (N, ...), batch by batch in order.

    If memory runs out, the batch is repeated in halves, down to single rows. So ``work`` must have no side
    effects when it fails.

    Raises:
        MemoryError, RuntimeError: memory runs out for a single row; see `is_out_of_memory`.
    """
    size = size if isinstance(size, BatchSize) else BatchSize(size)
    results: list[T] = []
    done = 0
    while done < len(rows):
        batch = rows[done : done + int(size)]
        try:
            results.append(work(batch))
            done += len(batch)
            continue
        except Exception as error:
            if len(batch) == 1 or not is_out_of_memory(error):
                raise
        # Outside the handler: inside it, the error's traceback would keep the batch's memory allocated.
        size.halve(len(batch))
    return results


@contextmanager
def enough_memory(remedy: str) -> Iterator[None]:
    """Turn an error about memory inside the block, even for one image, into a `RobustlabError`."""
    try:
        yield
    except Exception as error:
        if isinstance(error, RobustlabError) or not is_out_of_memory(error):
            raise
        raise RobustlabError(
            f"there is not enough memory, even for one image at a time; {remedy}. What was finished is kept"
        ) from None
