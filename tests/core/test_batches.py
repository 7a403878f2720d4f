"""A batch for which memory does not suffice is done again in halves."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from robustlab.core.batches import BatchSize, enough_memory, in_batches
from robustlab.core.calling import is_out_of_memory
from robustlab.core.errors import RobustlabError

ERRORS = {
    "cuda": torch.OutOfMemoryError("CUDA out of memory"),
    "python": MemoryError("Unable to allocate 9 GiB"),
    "cpu": RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried to allocate 9"),
    "c++": RuntimeError("std::bad_alloc"),
    "mps": RuntimeError("MPS backend out of memory"),
    "cublas": RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling cublasCreate(handle)"),
}


def at_most(images: int, error: Exception) -> Callable[[Tensor], list[int]]:
    """Return work that raises an error above a number of images."""

    def work(batch: Tensor) -> list[int]:
        if len(batch) > images:
            raise error
        numbers: list[int] = batch.tolist()
        return numbers

    return work


@pytest.mark.parametrize("error", ERRORS.values(), ids=ERRORS)
@pytest.mark.parametrize("images", [1, 3, 7, 100])
def test_every_row_is_done_once_and_in_order(error: Exception, images: int) -> None:
    done = in_batches(torch.arange(50), 20, at_most(images, error))
    assert [number for batch in done for number in batch] == list(range(50))
    assert max(map(len, done)) <= images


def test_all_who_share_a_size_go_on_with_the_smaller_one() -> None:
    told: list[tuple[int, int]] = []
    size = BatchSize(20, lambda *sizes: told.append(sizes))
    in_batches(torch.arange(50), size, at_most(6, ERRORS["cpu"]))
    assert int(size) == 5
    in_batches(torch.arange(50), size, at_most(6, ERRORS["cpu"]))
    assert told == [(20, 10), (10, 5)]


def test_a_short_batch_is_halved_by_its_own_length() -> None:
    size = BatchSize(1000)
    in_batches(torch.arange(8), size, at_most(3, ERRORS["cpu"]))
    assert int(size) == 2


def test_what_a_failed_batch_has_allocated_is_free_before_the_next_try() -> None:
    class Allocation:
        living = 0

        def __init__(self) -> None:
            Allocation.living += 1

        def __del__(self) -> None:
            Allocation.living -= 1

    def work(batch: Tensor) -> None:
        assert Allocation.living == 0
        held = Allocation()
        if len(batch) > 1:
            raise MemoryError
        del held

    in_batches(torch.arange(8), 8, work)


def test_a_single_row_that_does_not_fit_is_an_error() -> None:
    with pytest.raises(MemoryError):
        in_batches(torch.arange(8), 4, at_most(0, ERRORS["python"]))
    with (
        pytest.raises(RobustlabError, match="not enough memory, even for one image at a time; buy more"),
        enough_memory("buy more"),
    ):
        in_batches(torch.arange(8), 4, at_most(0, ERRORS["cpu"]))


@pytest.mark.parametrize(
    "error", [ValueError("no"), RobustlabError("out of memory"), RuntimeError("shapes differ")]
)
def test_other_errors_are_not_tried_again(error: Exception) -> None:
    tried: list[int] = []

    def work(batch: Tensor) -> None:
        tried.append(len(batch))
        raise error

    with pytest.raises(type(error), match=str(error)), enough_memory("buy more"):
        in_batches(torch.arange(8), 4, work)
    assert tried == [4]
    assert not is_out_of_memory(ValueError("out of memory"))


def test_no_rows_at_all() -> None:
    assert in_batches(torch.arange(0), 4, at_most(0, ERRORS["cpu"])) == []
